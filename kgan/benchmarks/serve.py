"""How fast a server answers many clients at once."""

import json
import threading
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from kgan.serving.client import Client

PERCENTILES = (50, 95, 99)


def benchmark_serve(address, model="kgan", clients=8, seconds=60.0, count=1, json_file=None):
    """Let clients ask for sounds by seed for a while, each as soon as it has its answer, print a table, return the figures.

    Args:
        address: of the server, see `kgan.serving.Client`.
        model: the model's name there.
        clients: how many ask at once.
        seconds: for how long.
        count: sounds in a request.
        json_file: where to write the figures, too.

    Returns:
        A dictionary: `requests`, `errors`, `requests_per_second`, `sounds_per_second`, `p50_ms`, `p95_ms` and `p99_ms`.

    Raises:
        InputError, ConnectionError, TimeoutError: the first request fails, before any is measured.
    """
    with Client(address, model) as client:
        client.generate(count=count)
    times_s, errors = [], []
    began_s = time.perf_counter()

    def ask(seed):
        with Client(address, model, retries=0) as client:
            while time.perf_counter() - began_s < seconds:
                called_s = time.perf_counter()
                try:
                    client.generate(count=count, seed=seed)
                    times_s.append(time.perf_counter() - called_s)
                except (OSError, ValueError) as error:
                    errors.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=ask, args=(seed,), daemon=True) for seed in range(clients)]
    for thread in threads:
        thread.start()
    for _ in tqdm(range(round(seconds)), "Asking", unit="s"):
        time.sleep(1.0)
    for thread in threads:
        thread.join()
    rate = len(times_s) / (time.perf_counter() - began_s)
    figures = {"requests": len(times_s), "errors": len(errors), "requests_per_second": rate, "sounds_per_second": rate * count}
    milliseconds = 1000 * np.percentile(times_s or [np.nan], PERCENTILES)
    figures |= {f"p{percent}_ms": float(value) for percent, value in zip(PERCENTILES, milliseconds, strict=True)}
    print(f"| {clients} clients, {count} sounds each | " + " | ".join(figures) + " |")
    print("|---" * (len(figures) + 1) + "|")
    print(f"| {address} | " + " | ".join(f"{value:,.5g}" for value in figures.values()) + " |")
    for error in sorted(set(errors))[:3]:
        print(f"Error: {error}")
    if json_file:
        Path(json_file).write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return figures
