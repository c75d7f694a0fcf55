"""What ten minutes of training give. Run with `python -m pytest -m long`."""

import time

import numpy as np
import pytest

from kgan.audio.pitch import estimate_pitch
from kgan.cli import main
from kgan.serving.saved_model import SavedSynthesizer

NOISE_HARMONICITY = 0.1  # of the estimator on white noise


@pytest.mark.long
@pytest.mark.parametrize("model", ["wgan_gp", "wgan", "dcgan"])
def test_ten_minutes_on_the_notes(tmp_path, monkeypatch, notes_cache, model):
    monkeypatch.setenv("KGAN_CACHE", str(notes_cache))
    began_s = time.monotonic()
    assert main(["train", "--model", model, "--run", str(tmp_path), "--size", "small"]) == 0
    assert time.monotonic() - began_s < 13 * 60
    synthesizer = SavedSynthesizer(tmp_path / "saved_model")
    audio = synthesizer.generate(synthesizer.latents(64))
    assert np.abs(audio).max() > 0.1
    if model == "wgan_gp":
        assert np.median(estimate_pitch(audio, 16000).harmonicity) > 3 * NOISE_HARMONICITY
