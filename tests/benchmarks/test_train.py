import numpy as np
import pytest

from kgan.benchmarks import train
from kgan.benchmarks.train import KGAN_FIT, KGAN_STEP, Turns, operations_per_iteration


class OneModule:
    parents = frozenset({"Global"})

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


def test_operations_are_those_that_pytorch_counts():
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    from kgan.benchmarks.torch_wavegan import TorchWGANGP

    gan = TorchWGANGP(dim=4)
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = OneModule()  # PyTorch's own refuses gradients of gradients
    with counter:
        gan.iteration(torch.rand(5 * 2, 16384))
    # PyTorch sends zeros back through the forward pass at the penalty's points: leaky ReLU has no second derivative.
    first, others = 50 * 4096 * 4, 4 * 50 * 2048 * 4**2
    zeros = 5 * 2 * (first + 2 * others)
    assert counter.get_total_flops() == pytest.approx(operations_per_iteration(4, 2) + zeros, rel=0.005)


def test_turns_are_timed_by_themselves(monkeypatch):
    """An iteration of fit takes 3 s, one of the other 5 s; the first of each turn takes longer and is not counted."""
    clock = [0.0]
    monkeypatch.setattr(train.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(train.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    counts = []

    def other(count):
        counts.append(count)
        clock[0] += 50.0 if count == 1 else 5.0 * count

    class Model:
        stop_training = False

    turns = Turns({"other": other}, rounds=3, iterations=2)
    turns.set_model(model := Model())
    for batch in range(100):
        clock[0] += 100.0 if batch in (0, 1, 4, 7) else 3.0
        turns.on_train_batch_end(batch)
        if model.stop_training:
            break
    assert batch == 9
    assert turns.times_s == {KGAN_FIT: [3.0] * 3, "other": [5.0] * 3}
    assert counts == [1, 2] * 3


@pytest.mark.long
def test_the_table_of_a_tiny_measurement(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(train, "PRODUCT_SIZE", 64)
    result = train.benchmark_train(1, 2, "float32", rounds=2, iterations=1, json_file=tmp_path / "out.json")
    rows = result["rows"]
    assert set(rows) == {KGAN_FIT, KGAN_STEP}
    assert rows[KGAN_FIT]["times_of_kgan"] == 1.0
    expected = operations_per_iteration(1, 2) / rows[KGAN_FIT]["seconds_per_iteration"] / 1e9
    assert rows[KGAN_FIT]["gflops"] == pytest.approx(expected)
    assert rows[KGAN_FIT]["share_of_peak"] == pytest.approx(expected / result["peak_gflops"]["float32"])
    assert result["kgan"]["peak_mib"] > 100
    assert "kgan, compiled step" in capsys.readouterr().out
    assert np.isfinite(rows[KGAN_STEP]["seconds_per_iteration"])
