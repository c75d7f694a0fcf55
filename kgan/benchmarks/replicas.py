"""Benchmark of the cost of distributing an iteration over replicas: measured on this machine, and estimated for GPUs."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

WAYS = {
    "one device": ("one", 1),
    "two replicas, one process": ("mirrored", 1),
    "two replicas, two processes": ("multiworker", 2),
}
# Assumptions of the estimate about GPUs and their connections; replace them to match other hardware.
GPU_FLOPS = 300e12  # bfloat16, 30 % of an H100's peak
GPUS_PER_MACHINE = 8
WITHIN_BYTES_PER_S = 300e9  # NVLink, for an all-reduce within a machine
BETWEEN_BYTES_PER_S = 50e9  # network of 400 Gb/s per machine
START_S = 50e-6  # start-up time of an all-reduce


def benchmark_replicas(dim, batch_size, rounds, iterations, json_file=None):
    """Measure a WGAN-GP iteration over waveforms on one device and on two replicas with the same total batch; print tables.

    Both replicas run on this machine's processor, so the result is the overhead of a strategy, not its speed-up.

    Args:
        dim: width of the networks.
        batch_size: examples in a critic step, summed over all replicas; even.
        rounds: number of separate starts of each configuration; figures are medians.
        iterations: number of measured iterations per start.
        json_file: file for the figures; None for none.

    Returns:
        A dictionary: `seconds` per iteration by configuration, `gradient_bytes` of an iteration, and the rows of the
        `estimate`.
    """
    times_s = {way: [] for way in WAYS}
    with tqdm(total=rounds * len(WAYS), desc="Measuring", unit="start") as bar:
        for _ in range(rounds):
            for way in WAYS:
                seconds, gradient_bytes = _measured(way, dim, batch_size, iterations)
                times_s[way].append(seconds)
                bar.update()
    seconds = {way: float(np.median(times)) for way, times in times_s.items()}
    print("| | seconds per iteration | relative to one device |\n|---|---|---|")
    for way, each in seconds.items():
        print(f"| {way} | {each:.3f} | {each / seconds['one device']:.2f} |")
    print(f"\nGradients of an iteration: {gradient_bytes / 2**20:.0f} MiB.")
    result = {"seconds": seconds, "gradient_bytes": gradient_bytes, "estimate": _print_estimate()}
    if json_file:
        Path(json_file).write_text(json.dumps(result, indent=1), encoding="utf-8")
    return result


def estimate(flop, gradient_bytes, all_reduces, gpus):
    """Return the seconds of computation and of communication in an iteration whose batch grows with the number of GPUs.

    A ring all-reduce moves 2 (n - 1) / n of the gradients through each link, first within each machine, then between machines.

    Args:
        flop: operations of an iteration on one GPU.
        gradient_bytes: size of the gradients of an iteration.
        all_reduces: number of all-reduces in an iteration, one for each optimizer step.
        gpus: number of GPUs.
    """
    machines = -(-gpus // GPUS_PER_MACHINE)
    inside = min(gpus, GPUS_PER_MACHINE)
    within_s = 2 * (inside - 1) / inside * gradient_bytes / WITHIN_BYTES_PER_S
    between_s = 2 * (machines - 1) / machines * gradient_bytes / BETWEEN_BYTES_PER_S
    return flop / GPU_FLOPS, within_s + between_s + (START_S * all_reduces if gpus > 1 else 0.0)


def _print_estimate(dim=64, batch_size=64, n_critic=5):
    """Print and return the estimate for the published network size, with a batch of 64 on each GPU."""
    from kgan.benchmarks.train import operations_per_iteration
    from kgan.networks import wave_critic, wave_generator

    gradient_bytes = 4 * (n_critic * wave_critic(dim=dim).count_params() + wave_generator(dim=dim).count_params())
    print(f"\nEstimated, width {dim}, batch {batch_size} on each GPU, {gradient_bytes / 2**20:.0f} MiB of gradients:")
    print("| GPUs | computing, ms | communicating, ms | examples per second, relative to one GPU |\n|---|---|---|---|")
    rows = []
    for gpus in (1, 8, 64):
        flop = operations_per_iteration(dim, batch_size)
        computing_s, communicating_s = estimate(flop, gradient_bytes, n_critic + 1, gpus)
        gain = gpus * computing_s / (computing_s + communicating_s)
        rows.append({"gpus": gpus, "computing_s": computing_s, "communicating_s": communicating_s, "gain": gain})
        print(f"| {gpus} | {1e3 * computing_s:.1f} | {1e3 * communicating_s:.1f} | {gain:.1f} |")
    return rows


def _measured(way, dim, batch_size, iterations):
    """Return seconds per iteration and bytes of gradients, measured in separate processes."""
    strategy, count = WAYS[way]
    command = [sys.executable, "-m", __name__, strategy, str(dim), str(batch_size), str(iterations)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, env=env, **streams) for env in local_cluster(count)]
    told = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, told, strict=True):
        if process.returncode:
            raise OSError(f"a measured process failed: {errors[-2000:]}")
    return json.loads(told[0][0].splitlines()[-1])


def local_cluster(count):
    """Return the environments of `count` processes on this machine, which find each other through `TF_CONFIG`."""
    alone = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    if count == 1:
        return [alone]
    with contextlib.ExitStack() as probes:
        free = [probes.enter_context(socket.socket()) for _ in range(count)]
        for each in free:
            each.bind(("127.0.0.1", 0))
        workers = [f"127.0.0.1:{each.getsockname()[1]}" for each in free]
    tasks = [{"cluster": {"worker": workers}, "task": {"type": "worker", "index": i}} for i in range(count)]
    return [alone | {"TF_CONFIG": json.dumps(task)} for task in tasks]


def split_processor():
    """Make TensorFlow treat this machine's processor as two devices. Call it before any computation."""
    import tensorflow as tf

    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)


def _measure(strategy_name, dim, batch_size, iterations):
    """Print seconds per iteration and bytes of gradients for this process's share of the work."""
    from kgan.strategy import build_strategy

    if strategy_name == "mirrored":
        split_processor()
    strategy = build_strategy(strategy_name)

    import keras

    from kgan.config import load_config
    from kgan.data.pipeline import training_dataset
    from kgan.data.sounds import Sounds
    from kgan.representations import Wave
    from kgan.training.build import build_gan

    told = {"model": "wgan_gp", "size": "small", "network.dim": dim, "training.batch_size": batch_size}
    with strategy.scope():
        gan = build_gan(load_config(told | {"training.precision": "float32"}), Wave())
    noise = np.random.default_rng(0).integers(-(2**15), 2**15, (5 * batch_size, 16384), np.int16)
    sounds = Sounds(noise, 16000, list(map(str, range(len(noise)))))
    dataset = strategy.distribute_datasets_from_function(
        lambda context: training_dataset(sounds, Wave(), batch_size, gan.n_critic, input_context=context)
    )
    ends_s = []
    clock = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ends_s.append(time.perf_counter()))
    gan.fit(dataset, steps_per_epoch=iterations + 2, shuffle=False, verbose=0, callbacks=[clock])
    parameters = gan.n_critic * gan.critic.count_params() + gan.generator.count_params()
    print(json.dumps([float(np.median(np.diff(ends_s[1:]))), 4 * parameters]))


if __name__ == "__main__":
    _measure(sys.argv[1], *map(int, sys.argv[2:]))
