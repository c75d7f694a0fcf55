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
    """512 samples are 16 positions, then strides 4, 4 and 2; the critic takes them in that order, too."""
    assert operations_per_iteration(16, 10, 16384) == 10 * operations_per_iteration(16, 1, 16384)
    d = 8
    generator = 50 * (4 * d * 2 * d * 16 + 2 * d * d * 64 + d * 256) + 2 * 100 * 16 * 4 * d
    first = 50 * d * 128
    critic = first + 50 * (d * 2 * d * 32 + 2 * d * 4 * d * 16) + 2 * 16 * 4 * d
    expected = (generator + 10 * critic - 2 * first) + (3 * generator + 2 * critic - 2 * 100 * 16 * 4 * d)
    assert operations_per_iteration(d, 1, 512, n_critic=1) == expected


@pytest.mark.long
def test_a_step_is_timed():
    assert scaling.seconds_per_step({"dim": 1, "batch_size": 2, "length_samples": 1024}, "float32", rounds=1) > 0
