"""Checks and batches of requests for notes of any pitch and duration."""

import numpy as np

from kgan.audio.pitch import midi_to_hz
from kgan.errors import InputError

NOTES_AT_ONCE = 8
LONGEST_NOTE_S = 60
HIGHEST_PITCH = 127  # of MIDI pitches
NOT_PLAYED = (
    "Notes of any pitch and duration need a generator over --repr harmonic. Received: a generator over another representation."
)


def note_batches(latents, pitch, duration_s, bend_semitones, others, sample_rate_hz):
    """Return batches of notes, `{name: array}`, for the signature `play`.

    Args:
        latents: `(count, latent_dim)`.
        pitch: MIDI pitch, a number or `(count,)` numbers, which may be fractional.
        duration_s: Duration of a note.
        bend_semitones: `(points,)` or `(count, points)`; None for no bend.
        others: Other labels, `{name: (count,)}`.
        sample_rate_hz: Sample rate of the audio.

    Raises:
        InputError: A pitch is not from 0 to 127 or not below half the sample rate, the duration is not above 0 and at most
            60 s, a bend is not finite, or the number of pitches or bends differs from that of the latents.
    """
    count = len(latents)
    pitch = _spread("pitch", pitch, count, "a number, or one for each latent")
    bend = 0.0 if bend_semitones is None else bend_semitones
    bend = _spread("bend_semitones", bend, count, "(points,) or (latents, points) numbers", points=True)
    if not np.all((pitch >= 0) & (pitch <= HIGHEST_PITCH)):
        raise InputError(f"`pitch` must be from 0 to {HIGHEST_PITCH}. Received: {pitch.min():g} to {pitch.max():g}.")
    if midi_to_hz(pitch.max()) >= sample_rate_hz / 2:
        rule = f"`pitch` must be below half the sample rate, {sample_rate_hz / 2:g} Hz."
        raise InputError(f"{rule} Received: {pitch.max():g}, which is {midi_to_hz(pitch.max()):,.0f} Hz.")
    if not 0 < duration_s <= LONGEST_NOTE_S:
        raise InputError(f"`duration_s` must be above 0 and at most {LONGEST_NOTE_S}. Received: {duration_s}.")
    parts = [slice(i, i + NOTES_AT_ONCE) for i in range(0, count, NOTES_AT_ONCE)]
    return [
        {"latents": latents[part], "pitch": pitch[part], "duration_s": np.float32(duration_s), "bend_semitones": bend[part]}
        | {name: values[part] for name, values in others.items()}
        for part in parts
    ]


def _spread(name, values, count, rule, points=False):
    """Broadcast finite numbers to float32 `(count,)` or `(count, points)`."""
    try:
        numbers = np.atleast_1d(np.asarray(values, np.float32))
        spread = np.broadcast_to(numbers, (count, numbers.shape[-1]) if points else (count,))
    except (TypeError, ValueError):
        spread = np.empty(0)
    if not spread.size or not np.isfinite(spread).all():
        raise InputError(f"`{name}` must be {rule}, and finite. Received: {values}.")
    return spread
