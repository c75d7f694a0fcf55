"""Benchmark of training: time of a WGAN-GP iteration over waveforms compared with PyTorch, and use of the processor."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kgan.callbacks import Board, Budget, Checkpoint, HealthWatch, HistoryCSV, Preview, ProgressBar, Throughput
from kgan.config import load_config
from kgan.data.notes import load_notes
from kgan.data.pipeline import training_dataset
from kgan.errors import InputError
from kgan.networks.wave import START_LENGTH, wave_strides
from kgan.representations import Wave
from kgan.synthesizer import GANSynthesizer
from kgan.training.build import build_gan
from kgan.training.precision import fastest_precision, matrix_product_s

LENGTH_SAMPLES = 16384
PRODUCT_SIZE = 4096
EPOCH_STEPS = 20  # as in configs/base.yaml
PAUSE_S = 0.5  # PyTorch's threads keep spinning for 0.2 s after their work
KGAN_FIT, KGAN_STEP = "kgan, fit", "kgan, compiled step"


def benchmark_train(dim=32, batch_size=64, precision="auto", against=None, rounds=5, iterations=2, json_file=None):
    """Measure the time of an iteration, five critic steps and one generator step, print a table, and return the figures.

    `kgan, fit` is the loop of `train`, with the pipeline over the built-in notes and all callbacks. `kgan, compiled step` is
    only its step, on one batch. They take turns, `rounds` times; figures are medians. Peak memory is measured in separate
    processes.

    Args:
        dim: width of the networks.
        batch_size: number of examples in a critic step.
        precision: precision of kgan's networks, as in a configuration.
        against: `"torch"` to include PyTorch, in both precisions and layouts; None for kgan only.
        rounds: number of measurements of each candidate.
        iterations: number of iterations in a measurement.
        json_file: file for the figures; None for none.

    Returns:
        `{"kgan": {...}, "torch": {...}, "peak_gflops": ..., ...}`; `kgan` and `torch` have `seconds_per_iteration`, `gflops`
        and `peak_mib`.
    """
    if precision == "auto":
        precision, _ = fastest_precision(bool(tf.config.list_physical_devices("GPU")))
    others = torch_runners(dim, batch_size) if against == "torch" else {}
    with tempfile.TemporaryDirectory(prefix="kgan-benchmark-") as scratch:
        times_s = measure(*_kgan(dim, batch_size, precision, Path(scratch)), others, rounds, iterations)
    operations = operations_per_iteration(dim, batch_size)
    peaks = {dtype: 2 * PRODUCT_SIZE**3 / matrix_product_s(dtype, PRODUCT_SIZE) / 1e9 for dtype in (tf.float32, tf.bfloat16)}
    result = {"dim": dim, "batch_size": batch_size, "precision": precision, "cores": os.cpu_count(), "rows": {}}
    result["peak_gflops"] = {dtype.name: peak for dtype, peak in peaks.items()}
    for name, values in times_s.items():
        bfloat16 = "bfloat16" in (precision if name.startswith("kgan") else name)
        gflops = operations / np.median(values) / 1e9
        result["rows"][name] = {
            "seconds_per_iteration": float(np.median(values)),
            "times_of_kgan": float(np.median(np.divide(values, times_s[KGAN_FIT]))),  # within a round
            "gflops": float(gflops),
            "share_of_peak": float(gflops / peaks[tf.bfloat16 if bfloat16 else tf.float32]),
        }
    result["kgan"] = result["rows"][KGAN_FIT] | {"peak_mib": _peak_mib("kgan", dim, batch_size, precision)}
    if others:
        best = min(others, key=lambda name: result["rows"][name]["seconds_per_iteration"])
        result["torch"] = result["rows"][best] | {"variant": best, "peak_mib": _peak_mib(best, dim, batch_size, precision)}
    print(to_markdown(result))
    if json_file:
        Path(json_file).write_text(json.dumps(result, indent=1), encoding="utf-8")
    return result


def to_markdown(result):
    lines = ["| | seconds per iteration | times of kgan | GFLOP/s | of the peak |", "|---|---|---|---|---|"]
    for name, row in result["rows"].items():
        numbers = f"{row['seconds_per_iteration']:.3f} | {row['times_of_kgan']:.2f} | {row['gflops']:,.0f}"
        lines.append(f"| {name} | {numbers} | {row['share_of_peak']:.0%} |")
    peaks = ", ".join(f"{peak:,.0f} GFLOP/s in {name}" for name, peak in result["peak_gflops"].items())
    lines += ["", f"dim {result['dim']}, batch {result['batch_size']}, {result['precision']}, {result['cores']} cores."]
    lines.append(f"The peak is that of the product of two {PRODUCT_SIZE} x {PRODUCT_SIZE} matrices: {peaks}.")
    memory = [f"{key} {result[key]['peak_mib']:,.0f} MiB" for key in ("kgan", "torch") if key in result]
    return "\n".join([*lines, f"Peak memory of a process of its own: {', '.join(memory)}."])


def operations_per_iteration(dim, batch_size, length_samples=LENGTH_SAMPLES, n_critic=5):
    """Return the multiplications and additions of an iteration's convolutions and dense layers.

    G and C are the operations of a forward pass, F those of the critic's first layer. A critic step needs G for the fakes, 3 C
    forward, 2 (2 C - F) backward for real and fake (without the gradient with respect to them), and C + 2 C for the penalty's
    gradient and its own gradient. A generator step needs 3 G + 2 C, minus the gradient of the latents, which is small.
    """
    strides = wave_strides(length_samples)
    widths = [1] + [dim * 2**i for i in range(len(strides))]
    pairs = np.multiply(widths[:-1], widths[1:])
    # The shorter of a layer's two lengths counts. If a stride is 2, the lengths of critic and generator differ.
    of_generator = 50 * pairs[::-1] * START_LENGTH * np.cumprod([1, *strides[:-1]])
    of_critic = 50 * pairs * length_samples // np.cumprod(strides)
    latents = 2 * 100 * START_LENGTH * widths[-1]
    generator = int(of_generator.sum()) + latents
    critic = int(of_critic.sum()) + 2 * START_LENGTH * widths[-1]
    critic_step = generator + 10 * critic - 2 * int(of_critic[0])
    return batch_size * (n_critic * critic_step + 3 * generator - latents + 2 * critic)


class Turns(keras.callbacks.Callback):
    """Time iterations of `fit` and of other runners in turns. List this callback last.

    The first iteration of each turn is not timed, because the caches are still filled with another runner's data.

    Args:
        others: `{name: function}`; each function takes a number of iterations and runs them.
        rounds: number of measurements of each runner.
        iterations: number of iterations in a measurement.

    Attributes:
        times_s: `{name: seconds per iteration of each round}`.
    """

    def __init__(self, others, rounds, iterations):
        super().__init__()
        self.others, self.rounds, self.iterations = others, rounds, iterations
        self.times_s = {name: [] for name in (KGAN_FIT, *others)}
        self._done = -1  # the very first iteration compiles
        self._began_s = None

    def on_train_batch_end(self, batch, logs=None):
        self._done += 1
        if self._done == 1:
            self._began_s = time.perf_counter()
        elif self._done == 1 + self.iterations:
            self._note(KGAN_FIT)
            for name, run in self.others.items():
                time.sleep(PAUSE_S)
                run(1)
                self._began_s = time.perf_counter()
                run(self.iterations)
                self._note(name)
            time.sleep(PAUSE_S)
            self._done = 0
            self.model.stop_training = len(self.times_s[KGAN_FIT]) == self.rounds

    def _note(self, name):
        self.times_s[name].append((time.perf_counter() - self._began_s) / self.iterations)


def measure(gan, dataset, callbacks, others, rounds, iterations):
    """Return `{name: seconds per iteration of each round}` of `fit`, of only its compiled step, and of other runners."""
    batch = iter(tf.data.Dataset.from_tensors(next(iter(dataset))).repeat())

    def step(count):
        for _ in range(count):
            logs = gan.train_function(batch)
        float(logs["critic_loss"])

    turns = Turns({KGAN_STEP: step} | others, rounds, iterations)
    loop = {"steps_per_epoch": EPOCH_STEPS, "epochs": sys.maxsize, "shuffle": False, "verbose": 0}
    gan.fit(dataset, **loop, callbacks=[*callbacks, turns])  # `turns` ends it
    return turns.times_s


def _kgan(dim, batch_size, precision, folder):
    """Return the GAN, the dataset and the callbacks that `train` would use."""
    told = {"model": "wgan_gp", "size": "small", "network.dim": dim, "training.batch_size": batch_size}
    config = load_config(told | {"training.precision": precision})
    gan = build_gan(config, Wave(LENGTH_SAMPLES))
    dataset = training_dataset(load_notes(), Wave(), batch_size, gan.n_critic)
    training = config.training
    synthesizer = GANSynthesizer(gan, Wave(), config.data.sample_rate_hz)
    checkpoint = Checkpoint(folder / "checkpoints", training.checkpoint_minutes)
    budget = Budget(checkpoint)
    callbacks = [
        Throughput(gan.n_critic * batch_size),
        ProgressBar(budget),
        HistoryCSV(folder / "history.csv"),
        HealthWatch(synthesizer, training.preview_steps, training.preview_count),
        checkpoint,
        Preview(synthesizer, folder / "samples", training.preview_steps, training.preview_count, folder / "logs"),
        Board(synthesizer, folder / "logs", {}),
        budget,
    ]
    return gan, dataset, callbacks


def require_torch():
    """Return the package torch.

    Raises:
        InputError: the package is not installed.
    """
    try:
        import torch
    except ImportError:
        raise InputError("A comparison with PyTorch needs it: pip install 'kgan[benchmark]'.") from None
    return torch


def torch_runners(dim, batch_size):
    """Return `{name: function}` for PyTorch in both precisions and layouts; a function runs a given number of iterations."""
    torch = require_torch()
    from kgan.benchmarks.torch_wavegan import VARIANTS, TorchWGANGP

    waves = torch.rand(5 * batch_size, LENGTH_SAMPLES) * 2 - 1

    def runner(options):
        gan = TorchWGANGP(dim, **options)

        def run(count):
            for _ in range(count):
                gan.iteration(waves)

        return run

    return {name: runner(options) for name, options in VARIANTS.items()}


MEMORY = """
import sys, tempfile
from pathlib import Path
from kgan.benchmarks.memory import peak_mib
name, dim, batch_size, precision = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
if name == "kgan":
    from kgan.benchmarks.train import _kgan, measure
    with tempfile.TemporaryDirectory() as scratch:
        measure(*_kgan(dim, batch_size, precision, Path(scratch)), {}, 1, 1)
else:
    import torch
    from kgan.benchmarks.torch_wavegan import VARIANTS, TorchWGANGP
    gan, waves = TorchWGANGP(dim, **VARIANTS[name]), torch.rand(5 * batch_size, 16384)
    for _ in range(3):
        gan.iteration(waves)
print(peak_mib())
"""


def _peak_mib(name, dim, batch_size, precision):
    """Return the peak memory of a separate process that runs three iterations."""
    command = [sys.executable, "-c", MEMORY, name, str(dim), str(batch_size), precision]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return float(output.split()[-1])
