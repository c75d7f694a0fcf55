"""Benchmark of generating waveforms: with the Synthesizer, with its SavedModel, and in PyTorch."""

import json
import tempfile
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from kgan.benchmarks.train import LENGTH_SAMPLES, require_torch
from kgan.config import load_config
from kgan.representations import Wave
from kgan.serving.saved_model import SavedSynthesizer, export_saved_model
from kgan.synthesizer import GANSynthesizer
from kgan.training.build import build_gan

BATCH_SIZES = (1, 64)


def benchmark_generate(dim=32, against=None, rounds=5, seconds=2.0, json_file=None):
    """Measure clips of 16384 samples per second in batches of 1 and 64, print a table, and return the figures.

    The candidates take turns, `rounds` times, each for `seconds`; figures are medians. The weights are untrained, which does
    not change the speed.

    Args:
        dim: width of the generator.
        against: `"torch"` to include PyTorch, in float32 and bfloat16 and in both layouts; None for kgan only.
        rounds: number of measurements of each candidate.
        seconds: duration of each measurement.
        json_file: file for the figures; None for none.

    Returns:
        A list of dictionaries: `name`, `batch_size`, `clips_per_second`, `times_real_time` and `ms_per_call`.
    """
    config = load_config({"model": "wgan_gp", "size": "small", "network.dim": dim, "training.precision": "float32"})
    rate_hz = config.data.sample_rate_hz
    synthesizer = GANSynthesizer(build_gan(config, Wave(LENGTH_SAMPLES)), Wave(), rate_hz)
    with tempfile.TemporaryDirectory(prefix="kgan-benchmark-") as scratch:
        saved = SavedSynthesizer(export_saved_model(synthesizer, config.to_yaml(), Path(scratch) / "model"))
    makers = {"kgan, Synthesizer": synthesizer.generate, "kgan, SavedModel": saved.generate}
    if against == "torch":
        makers |= _torch_makers(dim)
    calls_s = {(name, size): [] for name in makers for size in BATCH_SIZES}
    for _ in tqdm(range(rounds), "Rounds", unit="round"):
        for name, size in calls_s:
            calls_s[name, size].append(seconds_per_call(makers[name], synthesizer.latents(size), seconds))
    rows = []
    for (name, size), values in calls_s.items():
        call_s = float(np.median(values))
        rate = {"clips_per_second": size / call_s, "times_real_time": size * LENGTH_SAMPLES / rate_hz / call_s}
        rows.append({"name": name, "batch_size": size, **rate, "ms_per_call": 1000 * call_s})
    print(f"| dim {dim} | batch | clips per second | times real time | ms per call |\n|---|---|---|---|---|")
    for row in rows:
        rates = f"{row['clips_per_second']:,.0f} | {row['times_real_time']:,.0f} | {row['ms_per_call']:.1f}"
        print(f"| {row['name']} | {row['batch_size']} | {rates} |")
    if json_file:
        Path(json_file).write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return rows


def seconds_per_call(make, latents, seconds):
    """Return the median time of a call, without the first call."""
    make(latents)
    times_s, began_s = [], time.perf_counter()
    while not times_s or time.perf_counter() - began_s < seconds:
        called_s = time.perf_counter()
        make(latents)
        times_s.append(time.perf_counter() - called_s)
    return float(np.median(times_s))


def _torch_makers(dim):
    torch = require_torch()
    from kgan.benchmarks.torch_wavegan import VARIANTS, TorchWGANGP

    def maker(options):
        gan = TorchWGANGP(dim, **options)

        def make(latents):
            with torch.inference_mode(), gan.autocast():
                return gan.generator(torch.from_numpy(latents)).numpy()

        return make

    return {name: maker(options) for name, options in VARIANTS.items()}
