import json

import pytest
from matplotlib.image import imread

from kgan.benchmarks import scaling
from kgan.benchmarks.train import operations_per_iteration


def test_each_size_is_varied_by_itself_and_compared_with_the_base_s_speed(tmp_path, monkeypatch, capsys):
    """A machine of 100 GFLOP/s that needs half a second more for batches below 16."""

    def seconds(sizes, precision, rounds):
        return operations_per_iteration(**sizes) / 1e11 + 0.5 * (sizes["batch_size"] < 16)

    monkeypatch.setattr(scaling, "seconds_per_step", seconds)
    rows = scaling.benchmark_scaling("float32", out=tmp_path / "plot.png", json_file=tmp_path / "out.json")
    assert rows[0] == {"varied": None, "gflop": rows[0]["seconds"] * 100, **scaling.BASE, "seconds": rows[0]["seconds"]}
    for row in rows[1:]:
        assert {name for name in scaling.BASE if row[name] != scaling.BASE[name]} == {row["varied"]}
        assert row["seconds"] == pytest.approx(row["gflop"] / 100 + 0.5 * (row["batch_size"] < 16))
    assert json.loads((tmp_path / "out.json").read_text()) == rows
    assert imread(tmp_path / "plot.png").shape == (500, 700, 4)
    table = capsys.readouterr().out
    assert table.count("| 100 | 1.00 |") == len(rows) - 2


def test_operations_of_other_lengths():
    """Twice the length is a layer of stride 2 more, below the others: all of them become twice as wide at the same lengths."""
    tenth = operations_per_iteration(16, 1, 16384)
    assert operations_per_iteration(16, 10, 16384) == 10 * tenth
    widths, lengths = [4, 2, 1, 1 / 8], [16, 64, 256]
    layers = [50 * 8 * a * 8 * b * length for a, b, length in zip(widths, widths[1:], lengths, strict=False)]
    dense, last = 2 * 100 * 16 * 32, 2 * 16 * 32
    generator, critic = sum(layers) + dense, sum(layers) + last
    assert operations_per_iteration(8, 1, 1024, n_critic=1) == 4 * generator + 12 * critic - 2 * layers[-1] - dense


def test_a_step_is_timed():
    assert scaling.seconds_per_step({"dim": 1, "batch_size": 2, "length_samples": 1024}, "float32", rounds=1) > 0
