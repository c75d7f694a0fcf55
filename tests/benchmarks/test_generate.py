import json

import numpy as np
import pytest

from kgan.benchmarks import generate
from kgan.benchmarks.generate import BATCH_SIZES, benchmark_generate, seconds_per_call


def test_the_median_call_is_timed_and_the_first_is_not(monkeypatch):
    clock, took_s = [0.0], iter([100.0, 1.0, 2.0, 6.0, 2.0])

    def make(latents):
        clock[0] += next(took_s)

    monkeypatch.setattr(generate.time, "perf_counter", lambda: clock[0])
    assert seconds_per_call(make, None, seconds=10.0) == 2.0


def test_rates_follow_from_the_time_of_a_call(tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "seconds_per_call", lambda make, latents, seconds: 0.5 if len(make(latents)) == 1 else 2.0)
    rows = benchmark_generate(dim=1, rounds=1, json_file=tmp_path / "out.json")
    assert [(row["batch_size"], row["clips_per_second"]) for row in rows] == [(1, 2.0), (64, 32.0)] * 2
    assert rows[1]["times_real_time"] == pytest.approx(64 * 1.024 / 2.0)
    assert json.loads((tmp_path / "out.json").read_text()) == rows


def test_pytorch_s_makers_make_as_many_clips(rng):
    pytest.importorskip("torch")
    for make in generate._torch_makers(dim=1).values():
        for size in BATCH_SIZES:
            audio = make(rng.normal(0, 1, (size, 100)).astype(np.float32))
            assert audio.size == size * 16384
            assert np.abs(audio).max() <= 1
