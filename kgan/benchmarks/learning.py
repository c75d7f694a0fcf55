"""Benchmark of learning speed: scores of runs over minutes of training."""

from kgan.callbacks.rows import read_rows
from kgan.errors import InputError
from kgan.evaluation.table import COLUMNS, curves
from kgan.files import as_path, whole_file
from kgan.training.run_folder import RunFolder

SHOWN = ("inception_score", "frechet_distance", "pitch_accuracy", "harmonicity")


def benchmark_learning(paths, out, over="minutes"):
    """Plot scores of runs over minutes of training, one line for each run, and print the last scores.

    Args:
        paths: run folders that were trained with `--scores.every_steps`.
        out: a .png file.
        over: `"minutes"`, or `"cpu_minutes"`, the sum over all cores, which other work on the machine does not increase.

    Returns:
        `{name: rows}` of the plotted scores.

    Raises:
        InputError: a folder has no scores with minutes, or the runs' classifiers or numbers of sounds differ.
    """
    runs, ways = {}, set()
    for path in paths:
        run = RunFolder(path)
        rows = [row for row in read_rows(run.path / "scores.csv", last_step=2**63) if row.get(over)]
        if not rows:
            raise InputError(f"A run must have scores of its training: --scores.every_steps 500. Received: {run.path}.")
        ways |= {(row["classifier"], row["sounds"]) for row in rows}
        names = [name for name in ("step", over, *SHOWN) if all(row.get(name) for row in rows)]
        runs[run.path.name] = [{name: float(row[name]) for name in names} for row in rows]
    if len(ways) > 1:
        raise InputError(f"Scores are comparable by one classifier and number of sounds. Received: {sorted(ways)}.")
    with whole_file(as_path(out)) as scratch:
        scratch.write_bytes(curves(runs, over=over))
    for name, rows in runs.items():
        last = rows[-1]
        scores = [f"{COLUMNS[key].heading} {last[key]:{COLUMNS[key].digits}}" for key in SHOWN if key in last]
        print(f"{name}: {last[over]:.0f} {over.replace('_', ' ')}, {last['step']:,.0f} iterations: {', '.join(scores)}")
    return runs
