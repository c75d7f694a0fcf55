"""Pictures of sounds: waveforms and log spectrograms."""

import io
import warnings

import librosa
import numpy as np

from kgan.audio.signal import mono
from kgan.text import one_line

FFT_SAMPLES, HOP_SAMPLES = 1024, 128
FLOOR_DB = -80.0
SHOWN_CLIPS = 64
DRAWN_POINTS = 2_000
DRAWN_CHARACTERS = 32
BAR_COLORS = ("#9aa5b1", "#1f4e79")


def log_spectrogram(audio):
    """Return the levels of a mono clip in decibels relative to full scale, `(513, frames)`, at least -80."""
    magnitude = np.abs(librosa.stft(audio, n_fft=FFT_SAMPLES, hop_length=HOP_SAMPLES))
    full_scale = FFT_SAMPLES / 4  # magnitude of a sine of amplitude 1 with a Hann window
    return librosa.amplitude_to_db(magnitude / full_scale, ref=1.0, amin=1e-8, top_db=None).clip(FLOOR_DB, 0.0)


def drawn(name):
    """Return a name for Matplotlib: in one line, without the middle of a long name, and with escaped dollar signs."""
    text = one_line(name)
    if len(text) > DRAWN_CHARACTERS:
        text = f"{text[: DRAWN_CHARACTERS // 2 - 1]}…{text[-DRAWN_CHARACTERS // 2 :]}"
    text = f" {text}" if text.startswith("_") else text  # legends omit labels that begin with _
    return text.replace("$", r"\$")


def png_of(figure):
    """Return the bytes of a PNG. Characters that the font lacks are drawn as boxes."""
    png = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from|Matplotlib currently does not support")
        figure.savefig(png, dpi=100)
    return png.getvalue()


def contact_sheet(audio, sample_rate_hz, made_db=None, columns=8, titles=None, row_names=None):
    """Draw up to 64 clips side by side, each as a waveform above its log spectrogram.

    Args:
        audio: float `(count, samples)` or `(count, samples, channels)`; the mean of the channels is drawn.
        sample_rate_hz: Sample rate.
        made_db: Levels in decibels `(count, frames, bins)` of the network outputs from which the clips were decoded. They
            are drawn above the spectrograms of the clips, on their own frequency scale. None for none.
        columns: Clips in a row.
        titles: Text above each clip; None for its number.
        row_names: Text before each row.

    Returns:
        The bytes of a PNG.
    """
    from matplotlib.figure import Figure

    clips = mono(np.asarray(audio)[:SHOWN_CLIPS])
    columns = min(columns, len(clips))
    rows = -(-len(clips) // columns)
    heights = [1, 3] if made_db is None else [1, 3, 3]
    figure = Figure(figsize=(1.9 * columns + 0.6, 0.6 * sum(heights) * rows + 0.4), layout="constrained")
    axes = figure.subplots(len(heights) * rows, columns, squeeze=False, height_ratios=heights * rows)
    for ax in axes.flat:
        ax.set_axis_off()
    duration_s = clips.shape[1] / sample_rate_hz
    for i, clip in enumerate(clips):
        row, column = divmod(i, columns)
        panels = axes[len(heights) * row : len(heights) * (row + 1), column]
        wave, spectrum = panels[0], panels[-1]
        for ax in panels:
            ax.set_axis_on()
            ax.set_xticks([])
            ax.set_yticks([])
        wave.plot(np.linspace(0, duration_s, len(clip)), clip, linewidth=0.3, color="#1f4e79")
        wave.set(ylim=(-1, 1), xlim=(0, duration_s))
        wave.set_title(drawn(titles[i]) if titles else str(i), fontsize=7, pad=2)
        _draw_levels(spectrum, log_spectrogram(clip), (0, duration_s, 0, sample_rate_hz / 2000))
        if made_db is not None:
            _draw_levels(panels[1], made_db[i].T, (0, duration_s, 0, 1))
        if column == 0:
            if row_names:
                wave.set_ylabel(drawn(row_names[row]), fontsize=8)
            spectrum.set_yticks(np.arange(0, sample_rate_hz / 2000 + 0.1, 2))
            spectrum.set_ylabel("kHz" if made_db is None else "sound, kHz", fontsize=7)
            spectrum.tick_params(labelsize=6)
            if made_db is not None:
                panels[1].set_ylabel("network", fontsize=7)
        if row == rows - 1:
            spectrum.set_xticks([0, duration_s], ["0", f"{duration_s:.1f} s"], fontsize=6)
    return png_of(figure)


def piece(audio, sample_rate_hz):
    """Return a PNG of a piece of any length, `(samples[, channels])`: its waveform above its log spectrogram."""
    from matplotlib.figure import Figure

    (audio,) = mono(np.asarray(audio)[np.newaxis])
    duration_s = len(audio) / sample_rate_hz
    figure = Figure(figsize=(12, 4), layout="constrained")
    wave, spectrum = figure.subplots(2, 1, sharex=True, height_ratios=(1, 3))
    starts = np.arange(0, len(audio), max(1, len(audio) // DRAWN_POINTS))
    lows, highs = (np.ufunc.reduceat(reduce, audio, starts) for reduce in (np.minimum, np.maximum))
    wave.fill_between(starts / sample_rate_hz, lows, highs, color=BAR_COLORS[1], linewidth=0)
    wave.set(ylim=(-1, 1), yticks=[])
    levels_db = log_spectrogram(audio)
    step = max(1, levels_db.shape[1] // DRAWN_POINTS)
    _draw_levels(spectrum, levels_db[:, ::step], (0, duration_s, 0, sample_rate_hz / 2000))
    spectrum.set(xlabel="s", ylabel="kHz", xlim=(0, duration_s))
    return png_of(figure)


def bar_chart(places, series, x_label, y_label):
    """Return a PNG with bars side by side at each place. `series` is `{name: heights}`, with heights from 0 to 1."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.6), layout="constrained")
    ax = figure.subplots()
    for i, (name, heights) in enumerate(series.items()):
        width = 0.8 / len(series)
        ax.bar(np.asarray(places) + (i - (len(series) - 1) / 2) * width, heights, width, label=drawn(name), color=BAR_COLORS[i])
    ax.set(xlabel=x_label, ylabel=y_label, ylim=(0, 1.02))
    ax.legend(loc="lower right", fontsize=8)
    return png_of(figure)


def _draw_levels(ax, levels_db, extent):
    ax.imshow(levels_db, origin="lower", aspect="auto", extent=extent, vmin=FLOOR_DB, vmax=0.0, cmap="magma")
