"""Compare generated sounds with real sounds of the same labels, by ear and by eye."""

import numpy as np

from kgan.audio.envelope import measure_envelope
from kgan.audio.files import write_wav
from kgan.audio.pictures import bar_chart, contact_sheet
from kgan.audio.signal import mono
from kgan.errors import InputError
from kgan.evaluation.diversity import nearest_neighbours
from kgan.evaluation.evaluator import BATCH_SIZE, MEL_FFT_SAMPLES, REFERENCE_SOUNDS, check_length, drawn
from kgan.evaluation.log_mel import LogMel
from kgan.evaluation.pitch_scores import in_tune
from kgan.files import whole_folder
from kgan.labels import renumbered

COMPARED_SOUNDS = 2_000  # maximum number of real sounds, each paired with a generated one of the same labels


def listen(synthesizer, train, test, folder, count=10, seed=0):
    """Write pictures and WAV files that compare generated sounds with real ones, and a text about the differences.

    For each real test sound, a sound with the same labels is generated. If the generator knows none of the test sounds' values
    of a label, for example because instruments are held out, the label is drawn. The new folder contains
        `beside.png`, `real_00.wav`, `generated_00.wav`, ...: `count` of these pairs, sorted by pitch if they have one;
        `neighbours.png`: the generated sounds above their nearest training sounds by log mel spectrogram, with the distance
            relative to that of real test sounds from their neighbours; 0 means a copy;
        `pitch.png`: the share of sounds in tune at each pitch, if the generator takes pitches;
        `listening.md`: attacks, decays, DC and edges of all pairs in numbers.

    Args:
        synthesizer: a `Synthesizer`.
        train, test: real `Sounds` with the same sample rate and length.
        folder: a new folder.
        count: number of pairs to show.
        seed: seed of the latents.

    Returns:
        The text of `listening.md`.

    Raises:
        InputError: no test sound has labels that the generator knows, or they are shorter than 0.128 s or 2048 samples.
        OSError: the folder exists and is not empty, or cannot be written.
    """
    test, kinds = _known(test, synthesizer.labels)
    check_length(test)
    labels = {kind: test.labels[kind] for kind in kinds}
    rate_hz, pitches = synthesizer.sample_rate_hz, labels.get("pitch")
    real = mono(test.waveforms())
    made = mono(synthesizer.generate(synthesizer.latents(len(test), seed), labels, progress=True))
    order = np.arange(len(test)) if pitches is None else np.argsort(pitches, kind="stable")
    shown = order[np.linspace(0, len(test) - 1, min(count, len(test))).astype(int)]
    titles = [" ".join(synthesizer.labels.named(kind, labels[kind][i]) for kind in labels) for i in shown]
    train = drawn(train, REFERENCE_SOUNDS, seed)
    nearest, distances = _nearest(real[shown], made[shown], train)
    pictures = {
        "beside": contact_sheet(
            np.concatenate([real[shown], made[shown]]), rate_hz, None, len(shown), titles * 2, ("real", "generated")
        ),
        "neighbours": contact_sheet(
            np.concatenate([made[shown], mono(train.waveforms(nearest))]), rate_hz, None, len(shown),
            [f"{distance:.2f}" for distance in distances] + [train.ids[i] for i in nearest], ("generated", "nearest real"),
        ),
    }  # fmt: skip
    text = [
        _table(real, made, rate_hz),
        f"Distance of {len(shown)} generated sounds to the nearest of {len(train):,} training sounds, relative to real test"
        f" sounds': {distances.min():.2f} to {distances.max():.2f}, median {np.median(distances):.2f}.",
    ]
    if pitches is not None:
        hits = {name: in_tune(audio, rate_hz, pitches) for name, audio in (("real", real), ("generated", made))}
        values = np.unique(pitches)
        shares = {name: [np.mean(hit[pitches == value]) for value in values] for name, hit in hits.items()}
        pictures["pitch"] = bar_chart(values, shares, "MIDI pitch asked for", "share in tune")
        missed = values[np.argsort(shares["generated"], kind="stable")[:5]]
        text.append(
            f"In tune: {np.mean(hits['generated']):.1%} of {len(made):,} generated sounds, {np.mean(hits['real']):.1%} of the"
            f" real ones. Pitches missed most often: {', '.join(map(str, missed))}."
        )
    drawn_kinds = [kind for kind in synthesizer.labels.kinds if kind not in kinds]
    if drawn_kinds:
        text.append(f"Drawn at random, because the generator knows none of the test sounds' values: {', '.join(drawn_kinds)}.")
    text = "\n\n".join(text) + "\n"
    with whole_folder(folder) as scratch:
        for name, png in pictures.items():
            (scratch / f"{name}.png").write_bytes(png)
        for i, sound in enumerate(shown):
            write_wav(scratch / f"real_{i:02d}.wav", real[sound], rate_hz)
            write_wav(scratch / f"generated_{i:02d}.wav", made[sound], rate_hz)
        (scratch / "listening.md").write_text(text, encoding="utf-8")
    return text


def _known(sounds, labels):
    """Return at most `COMPARED_SOUNDS` sounds whose labels a generator knows, and the kinds with a value that it knows."""
    sounds = renumbered(sounds, labels.names)
    known = {kind: np.isin(sounds.labels[kind], labels.values[kind]) for kind in labels.kinds if kind in sounds.labels}
    known = {kind: each for kind, each in known.items() if each.any()}
    chosen = np.flatnonzero(np.all([np.ones(len(sounds), bool), *known.values()], axis=0))
    if set(labels.kinds) - set(sounds.labels) or len(known) < min(1, len(labels.kinds)) or not len(chosen):
        raise InputError(
            f"Real sounds must have labels that the generator knows, {', '.join(labels.kinds)}. Received: none that have."
        )
    return drawn(sounds.subset(chosen), COMPARED_SOUNDS, 0), tuple(known)


def _nearest(real, made, train):
    """Return each generated sound's nearest training sound and its distance, scaled so that real sounds average 1."""
    log_mel = LogMel(train.sample_rate_hz, MEL_FFT_SAMPLES)
    real, made, references = (_log_mels(log_mel, each) for each in (real, made, mono(train.waveforms())))
    distances, numbers = nearest_neighbours(made, references)
    return numbers, distances / nearest_neighbours(real, references)[0].mean()


def _log_mels(log_mel, audio):
    batches = [log_mel(audio[i : i + BATCH_SIZE]).numpy() for i in range(0, len(audio), BATCH_SIZE)]
    return np.concatenate(batches).reshape(len(audio), -1)


def _table(real, made, rate_hz):
    """Return a Markdown table of how sounds begin and end: medians, and maxima of values that should be 0."""
    lines = ["| | Attack | Level at 70 % | DC, largest | First or last sample, largest |", "|---|---|---|---|---|"]
    for name, audio in (("real", real), ("generated", made)):
        found = measure_envelope(audio, rate_hz)
        lines.append(
            f"| {name} | {np.nanmedian(found.attack_ms):.0f} ms | {np.nanmedian(found.decay_db):.1f} dB |"
            f" {found.dc.max():.4f} | {found.edges.max():.3f} |"
        )
    return "\n".join(lines)
