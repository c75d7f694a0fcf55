"""Benchmark of a server with many concurrent clients."""

import json
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

from kgan.errors import InputError
from kgan.serving.client import Client

PERCENTILES = (50, 95, 99)
PAUSE_AFTER_ERROR_S = 0.1


def benchmark_serve(address, model="kgan", clients=8, seconds=60.0, count=1, latent_dim=None, json_file=None, labels=None):
    """Run clients that send one request after another for a while, print a table, and return the figures.

    Args:
        address: address of the server, see `kgan.serving.Client`.
        model: the model's name on the server.
        clients: number of concurrent clients.
        seconds: duration of the benchmark.
        count: number of sounds in a request.
        latent_dim: width of the latents to send; None sends a seed, which a server that joins requests into batches refuses.
        json_file: file for the figures; None for none.
        labels: `{kind: value}` for a conditional model; None for any labels, which is possible only with seeds, not latents.

    Returns:
        A dictionary: `requests`, `errors`, `requests_per_second`, `sounds_per_second`, `p50_ms`, `p95_ms` and `p99_ms`. The
        last three are None if there was no answer.

    Raises:
        InputError, ConnectionError, TimeoutError: the first request, which is not measured, fails.
    """
    if seconds <= 0:
        raise InputError(f"`seconds` must be above 0. Received: {seconds}")
    rng = np.random.default_rng(0)
    asked = {"count": count} if latent_dim is None else {"latents": rng.normal(size=(count, latent_dim))}
    asked |= {"labels": labels} if labels else {}
    with Client(address, model) as client:
        client.generate(**asked)
    times_s, errors = [], Counter()
    began_s = time.perf_counter()

    def ask():
        with Client(address, model, retries=0) as client:
            while time.perf_counter() - began_s < seconds:
                called_s = time.perf_counter()
                try:
                    client.generate(**asked)
                    times_s.append(time.perf_counter() - called_s)
                except (OSError, ValueError) as error:
                    errors[f"{type(error).__name__}: {error}"] += 1
                    time.sleep(PAUSE_AFTER_ERROR_S)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for _ in tqdm(range(round(seconds)), "Asking", unit="s"):
        time.sleep(1.0)
    for thread in threads:
        thread.join()
    rate = len(times_s) / (time.perf_counter() - began_s)
    figures = {
        "requests": len(times_s),
        "errors": errors.total(),
        "requests_per_second": rate,
        "sounds_per_second": rate * count,
    }
    for percent in PERCENTILES:
        figures[f"p{percent}_ms"] = 1000 * float(np.percentile(times_s, percent)) if times_s else None
    print(f"| {clients} clients, {count} sounds each | " + " | ".join(figures) + " |")
    print("|---" * (len(figures) + 1) + "|")
    print(f"| {address} | " + " | ".join("" if value is None else f"{value:,.5g}" for value in figures.values()) + " |")
    for error, times in errors.most_common(3):
        print(f"{times} times {error}")
    if json_file:
        Path(json_file).write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return figures
