"""What sounds look like: waveforms and log spectrograms on one sheet."""

import io

import librosa
import numpy as np

FFT_SAMPLES, HOP_SAMPLES = 1024, 128
FLOOR_DB = -80.0


def log_spectrogram(audio):
    """Return decibels below full scale, `(513, frames)`, of a mono clip, no lower than -80."""
    magnitude = np.abs(librosa.stft(audio, n_fft=FFT_SAMPLES, hop_length=HOP_SAMPLES))
    full_scale = FFT_SAMPLES / 4  # of a sine of amplitude 1 under a Hann window
    return librosa.amplitude_to_db(magnitude / full_scale, ref=1.0, amin=1e-8, top_db=None).clip(FLOOR_DB, 0.0)


def contact_sheet(audio, sample_rate_hz, columns=8):
    """Draw clips side by side, each a waveform over its log spectrogram; clips of more than 64 are left out.

    Args:
        audio: float `(count, samples)` or `(count, samples, channels)`, of which the mean of the channels is drawn.
        sample_rate_hz: samples per second.
        columns: clips in a row.

    Returns:
        The bytes of a PNG.
    """
    from matplotlib.figure import Figure

    audio = np.asarray(audio)[:64]
    mono = audio if audio.ndim == 2 else audio.mean(axis=2)
    columns = min(columns, len(mono))
    rows = -(-len(mono) // columns)
    figure = Figure(figsize=(1.9 * columns + 0.6, 2.4 * rows + 0.4), layout="constrained")
    axes = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[1, 3] * rows)
    for ax in axes.flat:
        ax.set_axis_off()
    duration_s = mono.shape[1] / sample_rate_hz
    for i, clip in enumerate(mono):
        row, column = divmod(i, columns)
        wave, spectrum = axes[2 * row, column], axes[2 * row + 1, column]
        for ax in (wave, spectrum):
            ax.set_axis_on()
            ax.set_xticks([])
        wave.plot(np.linspace(0, duration_s, len(clip)), clip, linewidth=0.3, color="#1f4e79")
        wave.set(ylim=(-1, 1), xlim=(0, duration_s), yticks=[])
        wave.set_title(str(i), fontsize=7, pad=2)
        spectrum.imshow(
            log_spectrogram(clip),
            origin="lower",
            aspect="auto",
            extent=(0, duration_s, 0, sample_rate_hz / 2000),
            vmin=FLOOR_DB,
            vmax=0.0,
            cmap="magma",
        )
        spectrum.set_yticks([])
        if column == 0:
            spectrum.set_yticks(np.arange(0, sample_rate_hz / 2000 + 0.1, 2))
            spectrum.set_ylabel("kHz", fontsize=7)
            spectrum.tick_params(labelsize=6)
        if row == rows - 1:
            spectrum.set_xticks([0, duration_s], ["0", f"{duration_s:.1f} s"], fontsize=6)
    png = io.BytesIO()
    figure.savefig(png, dpi=100)
    return png.getvalue()
