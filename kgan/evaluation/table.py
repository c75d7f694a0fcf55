"""The table of an evaluation, as Markdown, CSV, JSON and a picture."""

import csv
import io
import itertools
import json
from pathlib import Path
from typing import NamedTuple

from kgan.audio.pictures import drawn, png_of
from kgan.errors import InputError
from kgan.files import whole_file
from kgan.text import in_markdown, printable

REAL_TRAIN, REAL_TEST = "Real (train)", "Real (test)"
SUFFIXES = (".md", ".csv", ".json", ".png")
LABELS_SHOWN = 24  # maximum number of labels in a table by label
BY_LABEL = "_by_label"  # suffix of a score's name for `{label: score}`


class Column(NamedTuple):
    """How a score is shown.

    Attributes:
        heading: heading of the column.
        digits: number format.
        better: 1 if more is better, -1 if less is better, 0 if nearer to real sounds is better.
        relative: row of real sounds; the ratio to it is shown in brackets. None for no ratio.
    """

    heading: str
    digits: str
    better: int
    relative: str | None = None


COLUMNS = {
    "inception_score": Column("Inception score", ".2f", 1),
    "effective_classes": Column("Effective classes", ".2f", 0),
    "d_self": Column("D_self", ".2f", 0),
    "d_train": Column("D_train", ".2f", 0),
    "mel_d_self": Column("D_self (mel)", ".1f", 0, relative=REAL_TRAIN),
    "mel_d_train": Column("D_train (mel)", ".1f", 0, relative=REAL_TEST),
    "frechet_distance": Column("Frechet", ".2f", -1),
    "kernel_distance": Column("Kernel", ".3g", -1),
    "musicnn_frechet": Column("Frechet (musicnn)", ".2f", -1),
    "musicnn_kernel": Column("Kernel (musicnn)", ".3g", -1),
    "ndb": Column("NDB/k", ".2f", -1),
    "label_accuracy": Column("Label accuracy", ".1%", 1),
    "pitch_accuracy": Column("Pitch accuracy", ".1%", 1),
    "pitch_entropy": Column("Pitch entropy", ".2f", -1),
    "in_tune": Column("In tune", ".1%", 1),
    "pitched": Column("Pitched", ".1%", 1),
    "harmonicity": Column("Harmonicity", ".2f", 1),
    "level_noise_db": Column("Level noise, dB", ".2f", 0, relative=REAL_TEST),
    "attack_ms": Column("Attack, ms", ".0f", 0, relative=REAL_TEST),
}
LINE_COLORS = ("#1f4e79", "#d08c2c", "#4f8f4f", "#8e5aa5", "#4a4a4a")
_HINTS = {1: "more is better", -1: "less is better", 0: "best as real"}


def check_new(path):
    """Return the paths of a table's four files.

    Raises:
        InputError: one of them exists, as nothing is overwritten, or the suffix is not one of theirs.
    """
    path = Path(path).expanduser()
    if path.suffix not in SUFFIXES:
        raise InputError(f"A table's file must end in one of {', '.join(SUFFIXES)}. Received: {path}.")
    paths = [path.with_suffix(suffix) for suffix in SUFFIXES]
    for each in paths:
        if each.exists():
            raise InputError(f"Tables must be written to new files. Received: {each}, which exists. Give another --out.")
    return paths


def write_table(result, path):
    """Write the result of `evaluate` as `path` with each of the suffixes .md, .csv, .json and .png.

    Raises:
        InputError: one of the files exists.
    """
    markdown, table, numbers, picture = check_new(path)
    markdown.parent.mkdir(parents=True, exist_ok=True)
    for file, content in (
        (numbers, json.dumps(result, indent=1, allow_nan=False).encode()),
        (markdown, to_markdown(result).encode()),
        (table, to_csv(result).encode()),
        (picture, to_png(result)),
    ):
        with whole_file(file) as scratch:
            scratch.write_bytes(content)


def read_table(path):
    """Return the result in a table's JSON file.

    Raises:
        InputError: the file is not a table's JSON file.
    """
    try:
        result = json.loads(Path(path).read_text(encoding="utf-8"))
        result["settings"], result["classifier"], [row["experiment"] for row in result["rows"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"A table must be a JSON file that `evaluate` wrote. Received: {path} ({error}).") from None
    return result


def to_markdown(result):
    """Return the table, followed by tables of scores by label and by a description of the settings."""
    columns = _columns(result)
    counts = [("Iterations", "iterations"), ("Sounds", "count")]
    counts = [(heading, name) for heading, name in counts if any(name in row for row in result["rows"])]
    lines = [["Experiment", *(heading for heading, _ in counts), *(COLUMNS[name].heading for name in columns)]]
    for row in result["rows"]:
        told = [f"{row[name]:,}" if name in row else "" for _, name in counts]
        lines.append([in_markdown(row["experiment"]), *told, *(_cell(name, row) for name in columns)])
    tables = [lines, *(_by_label(name, result["rows"]) for name in columns)]
    return "\n\n".join([*map(_aligned, filter(None, tables)), "\n".join(describe(result))]) + "\n"


def describe(result):
    """Return the sentences that explain a table."""
    settings, classifier = result["settings"], result["classifier"]
    compared = f"of {settings['compared']:,} sounds each, compared with {settings['references']:,} training sounds."
    if "inception" in settings["metrics"]:
        compared = f"The inception score is of all sounds, in {settings['splits']} splits; the other scores are {compared}"
    else:
        compared = f"Scores are {compared}"
    lines = [f"Data: {in_markdown(settings['data'])}. {compared}"]
    if classifier:
        accuracy = f"{classifier['label']} right in {classifier['accuracy']:.1%}"
        if "pitch_accuracy" in classifier:
            accuracy += f", pitch in {classifier['pitch_accuracy']:.1%}"
        lines.append(
            f"Classifier: {classifier['architecture']} {classifier['fingerprint']}, {accuracy} of {classifier['test_sounds']:,}"
            " test sounds. Scores of other classifiers are not comparable."
        )
    lines += [in_markdown(f"Warning: {row['experiment']}: {text}") for row in result["rows"] for text in row["warnings"]]
    lines += [in_markdown(f"Not scored: {name}: {reason}") for name, reason in result["failed"].items()]
    return lines


def to_csv(result):
    """Return the rows with all digits, without the scores by label, which are in the JSON file."""
    names = dict.fromkeys(name for row in result["rows"] for name in row)
    names = [name for name in names if name != "warnings" and not name.endswith(BY_LABEL)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(row | {"experiment": printable(row["experiment"])} for row in result["rows"])
    return text.getvalue()


def to_png(result):
    """Return a PNG's bytes: a panel for each score, with a bar for each row and a line at the score of real test sounds."""
    from matplotlib.figure import Figure

    columns, rows = _columns(result), result["rows"]
    across = min(4, len(columns))
    down = -(-len(columns) // across)
    figure = Figure(figsize=(3.2 * across + 1.2, (0.32 * len(rows) + 0.8) * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False, sharey=True)
    colors = ["#9aa5b1" if row["experiment"].startswith("Real (") else "#1f4e79" for row in rows]
    for ax, name in zip(axes.flat, columns, strict=False):
        values = [row.get(name) for row in rows]
        deviations = [row.get(f"{name}_std") or 0.0 for row in rows]
        xerr = deviations if any(deviations) else None
        ax.barh(range(len(rows)), [value or 0.0 for value in values], xerr=xerr, color=colors)
        real = next((row.get(name) for row in rows if row["experiment"] == REAL_TEST), None)
        if real is not None:
            ax.axvline(real, color="#c0392b", linewidth=1)
        ax.set_title(f"{COLUMNS[name].heading} ({_HINTS[COLUMNS[name].better]})", fontsize=8)
        ax.tick_params(labelsize=7)
    axes[0, 0].set_yticks(range(len(rows)), [drawn(row["experiment"]) for row in rows])
    axes[0, 0].invert_yaxis()
    for ax in axes.flat[len(columns) :]:
        ax.set_axis_off()
    return png_of(figure)


def curves(runs, real=None, best_step=None, over="step"):
    """Return a picture of scores over time: a panel for each score that all rows have, with a line for each run.

    Args:
        runs: `{name: rows}`; rows are dictionaries with scores and `over`.
        real: scores of real sounds, `{name: value}`, drawn as horizontal lines; None for none.
        best_step: step to mark; None for none.
        over: quantity on the x axis: `"step"`, `"minutes"` or `"cpu_minutes"`.

    Returns:
        The bytes of a PNG.
    """
    from matplotlib.figure import Figure

    names = [name for name in COLUMNS if all(name in row for rows in runs.values() for row in rows)]
    across = min(4, len(names))
    down = -(-len(names) // across)
    figure = Figure(figsize=(3.4 * across, 2.4 * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False, sharex=True)
    for ax, name in zip(axes.flat, names, strict=False):
        for (run, rows), color in zip(runs.items(), itertools.cycle(LINE_COLORS)):
            line = {"marker": ".", "linewidth": 1, "color": color, "label": drawn(run)}
            ax.plot([row[over] for row in rows], [row[name] for row in rows], **line)
        if real and name in real:
            ax.axhline(real[name], color="#c0392b", linewidth=1, label="real")
        if best_step is not None:
            ax.axvline(best_step, color="#9aa5b1", linewidth=1, linestyle=":", label="best")
        ax.set_title(f"{COLUMNS[name].heading} ({_HINTS[COLUMNS[name].better]})", fontsize=8)
        ax.tick_params(labelsize=7)
    for ax in axes[-1]:
        ax.set_xlabel(over.replace("_", " "), fontsize=7)
    axes[0, 0].legend(fontsize=7)
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    return png_of(figure)


def _columns(result):
    return [name for name in COLUMNS if any(name in row for row in result["rows"])]


def _by_label(name, rows):
    """Return the lines of a score's table by label; none if no row has such scores."""
    told = {row["experiment"]: row[name + BY_LABEL] for row in rows if name + BY_LABEL in row}
    labels = sorted({label for values in told.values() for label in values})
    heading, shown = COLUMNS[name].heading, labels[:LABELS_SHOWN]
    heading += f" ({len(shown)} of {len(labels):,})" if len(labels) > len(shown) else ""
    lines = [[in_markdown(text), *(_number(name, values.get(label)) for label in shown)] for text, values in told.items()]
    return [[heading, *map(in_markdown, shown)], *lines] if lines else []


def _aligned(lines):
    lines = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(name, value):
    return "" if value is None else format(value, COLUMNS[name].digits)


def _cell(name, row):
    column = COLUMNS[name]
    if name not in row:
        return ""
    text = _number(name, row[name])
    if f"{name}_std" in row:
        text += f" ± {row[f'{name}_std']:{column.digits}}"
    if f"{name}_relative" in row:
        text += f" ({row[f'{name}_relative']:.2f})"
    return text
