"""What is said of any signal."""

SILENT_PEAK = 1e-3  # -60 dB below full scale


def mono(audio):
    """Return `(count, samples)`: the mean of the channels of audio that has them, `(count, samples, channels)`."""
    return audio if audio.ndim == 2 else audio.mean(axis=2)
