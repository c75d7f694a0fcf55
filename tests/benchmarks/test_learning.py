import csv

import pytest

from kgan.benchmarks.learning import benchmark_learning
from kgan.errors import InputError


def run_with(folder, rows):
    folder.mkdir()
    with (folder / "scores.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def row(step, minutes, score, classifier="mel abc"):
    spent = {"minutes": minutes, "cpu_minutes": 2 * minutes}
    return {"step": step, "sounds": 500, "classifier": classifier, **spent, "frechet_distance": score}


def test_rows_of_all_runs_are_drawn_and_the_last_ones_told(tmp_path, capsys):
    runs = [
        run_with(tmp_path / "fast", [row(100, 1.5, 60.0), row(200, 3.0, 41.256)]),
        run_with(tmp_path / "paper", [row(50, 1.0, 99.0)]),
    ]
    drawn = benchmark_learning(runs, tmp_path / "learning.png")
    assert [(each["minutes"], each["frechet_distance"]) for each in drawn["fast"]] == [(1.5, 60.0), (3.0, 41.256)]
    assert "fast: 3 minutes, 200 iterations: Frechet 41.26" in capsys.readouterr().out
    assert (tmp_path / "learning.png").read_bytes()[:4] == b"\x89PNG"
    drawn = benchmark_learning(runs, tmp_path / "processor.png", over="cpu_minutes")
    assert [each["cpu_minutes"] for each in drawn["fast"]] == [3.0, 6.0]
    assert "fast: 6 cpu minutes, 200 iterations" in capsys.readouterr().out


def test_what_cannot_be_compared_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"--scores.every_steps 500. Received: .*none"):
        benchmark_learning([tmp_path / "none"], tmp_path / "learning.png")
    runs = [run_with(tmp_path / name, [row(1, 1.0, 9.0, name)]) for name in ("a", "b")]
    with pytest.raises(InputError, match="one classifier and number of sounds"):
        benchmark_learning(runs, tmp_path / "learning.png")
    assert not (tmp_path / "learning.png").exists()
