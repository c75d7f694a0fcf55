import numpy as np
import pytest

from kgan.data.sounds import Sounds, to_int16
from kgan.evaluation.classifier import load_classifier

RATE_HZ, LENGTH = 16000, 2048


def instruments(count, seed):
    """Sines, square waves and noise at MIDI pitches 60 to 63, equally often, in random order."""
    rng = np.random.default_rng(seed)
    family = rng.permutation(np.arange(count) % 3).astype(np.int32)
    pitch = rng.integers(60, 64, count).astype(np.int32)
    frequency_hz = 440 * 2 ** ((pitch - 69) / 12)
    time_s = np.arange(LENGTH) / RATE_HZ
    sine = np.sin(2 * np.pi * (frequency_hz[:, None] * time_s + rng.uniform(0, 1, (count, 1))))
    noise = rng.uniform(-1, 1, (count, LENGTH))
    audio = np.choose(family[:, None], [sine, np.sign(sine), noise]) * rng.uniform(0.2, 0.9, (count, 1))
    labels = {"family": family, "pitch": pitch}
    return Sounds(
        to_int16(audio), RATE_HZ, [f"{seed}-{i}" for i in range(count)], labels, {"family": ["sine", "square", "noise"]}
    )


@pytest.fixture(scope="module", autouse=True)
def fewer_steps():
    """Half of the steps suffice for sounds that differ so much."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kgan.evaluation.classifier.LEAST_STEPS_PER_EPOCH", 12)
        yield


@pytest.fixture(scope="session")
def parts():
    """Sounds to train on, to validate and to test."""
    return instruments(240, 1), instruments(60, 2), instruments(90, 3)


@pytest.fixture(scope="session")
def classifier(parts):
    return load_classifier(*parts)
