"""Benchmark of scaling: time of a WGAN-GP iteration over waveforms by batch size, network width and clip length."""

import json
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from kgan.benchmarks.train import operations_per_iteration
from kgan.config import load_config
from kgan.representations import Wave
from kgan.training.build import build_gan
from kgan.training.precision import fastest_precision

BASE = {"dim": 16, "batch_size": 32, "length_samples": 16384}
VARIED = {
    "batch_size": (4, 8, 16, 64, 128),
    "dim": (4, 8, 32, 64),
    "length_samples": (4096, 8192, 32768, 65536),
}
NAMES = {"batch_size": "batch", "dim": "width", "length_samples": "samples"}


def benchmark_scaling(precision="auto", rounds=5, out=None, json_file=None):
    """Measure the compiled step with width 16, batch 32 and 16384 samples, and vary one of them at a time; print a table.

    Args:
        precision: precision of the networks, as in a configuration.
        rounds: number of measured iterations per setting; figures are medians.
        out: PNG file for a plot of seconds over counted operations; None for none.
        json_file: file for the figures; None for none.

    Returns:
        A list of dictionaries: `varied` (None for the base), the three sizes, `gflop` and `seconds` of an iteration.
    """
    if precision == "auto":
        precision, _ = fastest_precision(bool(tf.config.list_physical_devices("GPU")))
    settings = [(None, BASE)] + [(name, BASE | {name: value}) for name, values in VARIED.items() for value in values]
    rows = []
    for varied, sizes in tqdm(settings, "Settings", unit="setting"):
        gflop = operations_per_iteration(**sizes) / 1e9
        rows.append({"varied": varied, **sizes, "gflop": gflop, "seconds": seconds_per_step(sizes, precision, rounds)})
    print(
        "| width | batch | samples | seconds per iteration | GFLOP/s | time relative to the line |\n|---|---|---|---|---|---|"
    )
    for row in rows:
        line_s = row["gflop"] / rows[0]["gflop"] * rows[0]["seconds"]
        figures = f"{row['seconds']:.3f} | {row['gflop'] / row['seconds']:,.0f} | {row['seconds'] / line_s:.2f}"
        print(f"| {row['dim']} | {row['batch_size']} | {row['length_samples']} | {figures} |")
    if out:
        draw(rows, precision, out)
    if json_file:
        Path(json_file).write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return rows


def seconds_per_step(sizes, precision, rounds):
    """Return the median time of an iteration, without the first iteration."""
    told = {"network.dim": sizes["dim"], "data.length_samples": sizes["length_samples"], "training.precision": precision}
    keras.backend.clear_session()
    gan = build_gan(load_config({"model": "wgan_gp", "size": "small"} | told), Wave(sizes["length_samples"]))
    waves = tf.random.stateless_uniform((gan.n_critic * sizes["batch_size"], sizes["length_samples"], 1), (0, 0), -1.0, 1.0)
    step = tf.function(gan.train_step, autograph=False, jit_compile=gan.jit_compile)
    times_s = []
    for _ in range(rounds + 1):
        began_s = time.perf_counter()
        float(step(waves)["critic_loss"])
        times_s.append(time.perf_counter() - began_s)
    return float(np.median(times_s[1:]))


def draw(rows, precision, file):
    """Plot seconds over operations; the dashed line is the speed of the base setting."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    ax = figure.subplots()
    base = rows[0]
    ends = np.array([min(row["gflop"] for row in rows), max(row["gflop"] for row in rows)])
    ax.plot(ends, ends / base["gflop"] * base["seconds"], "--", color="0.6", label="the base's speed")
    for name, marker, place in zip(VARIED, "osD", ((-16, 6), (6, -9), (-38, 5)), strict=True):
        of_name = sorted((row for row in rows if row["varied"] in (name, None)), key=lambda row: row["gflop"])
        ax.plot([row["gflop"] for row in of_name], [row["seconds"] for row in of_name], marker=marker, label=NAMES[name])
        for row in of_name:
            if row is not base:
                ax.annotate(row[name], (row["gflop"], row["seconds"]), place, textcoords="offset points", fontsize=7)
    ax.set(xscale="log", yscale="log", xlabel="GFLOP of an iteration", ylabel="seconds of an iteration")
    ax.set_title(
        f"WGAN-GP over waves, {precision}; base: " + ", ".join(f"{NAMES[name]} {base[name]}" for name in BASE), fontsize=9
    )
    ax.legend(loc="lower right")
    figure.savefig(file, dpi=100)
