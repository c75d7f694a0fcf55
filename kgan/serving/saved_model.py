"""SavedModels: export for TensorFlow Serving, and loading without the code that trained the model."""

import contextlib
import json
import os
import re
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf
import yaml

from kgan.audio.notes import HIGHEST_PITCH, LONGEST_NOTE_S
from kgan.errors import InputError
from kgan.files import tensorflow_path, whole_folder
from kgan.labels import ANY, Labels
from kgan.serving.model_card import model_card
from kgan.serving.warmup import write_warmup_requests
from kgan.synthesizer import Synthesizer, item_latents
from kgan.text import one_line

CONFIG_FILE = "assets/config.yaml"  # the run's configuration, usable with --config
GENERATOR_FILE = "assets/generator.yaml"
CARD_FILE = "MODEL_CARD.md"
SIGNATURES = ("serving_default", "sample", "wav")
LARGEST_REQUEST = 256  # sounds; limits the time and memory of a request


def export_saved_model(synthesizer, config_yaml, folder, sounds=None, scores=None, half=False):
    """Write the next version of a SavedModel, `folder/1`, `folder/2`, ...; earlier versions are not changed.

    Signatures, each of which returns a dictionary:
        `serving_default`: `latents` float32 `(batch, latent_dim)` -> `audio` float32 `(batch, samples[, channels])`.
        `sample`: `count` int32 and `seed` int64, scalars -> `audio` and the `latents` it was made from; a sound depends only
            on the seed and its index.
        `wav`: as `serving_default` -> `wav_bytes`, the bytes of a 16-bit WAV file for each sound. (The suffix `_bytes` makes
            the server encode them as base64 in JSON.)

    The signatures of a conditional generator also take its labels, such as `pitch`, int32: `serving_default` and `wav` one
    for each sound, `(batch,)`; `sample` a scalar, -1 for any. `sample` also returns the labels.

    A harmonic-plus-noise generator has a fourth signature, `play`: `latents`, `pitch` float32 `(batch,)` (not necessarily
    integers), `duration_s` float32, a scalar, `bend_semitones` float32 `(batch, points)`, and the other labels -> `audio`.

    The graph accepts only requests for 1 to 256 sounds with finite latents. It contains only standard operations, so
    `tf.saved_model.load` works without kgan. `assets/config.yaml` holds the training configuration, `assets/generator.yaml` the
    number of iterations and the labels, and `MODEL_CARD.md` a description. If the package tensorflow-serving-api is
    installed, warm-up requests for the server are added.

    Args:
        synthesizer: a `GANSynthesizer`.
        config_yaml: text of the run's configuration.
        folder: the model's folder; its name is the model's name for TensorFlow Serving.
        sounds: number of sounds it was trained on, for the model card; None if unknown.
        scores: `{name: value}` of its last evaluation, for the model card; None if there was none.
        half: whether to store the network's weights as float16, which halves their size. Sounds are still computed in
            float32, from weights rounded to 11 bits.

    Returns:
        The version's folder, a `Path`.

    Raises:
        InputError: the folder cannot be written, its path is not UTF-8, or the disk is full.
    """
    folder = Path(folder).expanduser().resolve()  # resolved, because its name is the model's name
    model_name = Path(tensorflow_path(folder)).name
    version = folder / str(max(_versions(folder), default=0) + 1)
    try:
        with whole_folder(version) as scratch:
            _write(synthesizer, scratch, half)
            (scratch / "assets").mkdir(exist_ok=True)
            (scratch / CONFIG_FILE).write_text(config_yaml, encoding="utf-8")
            facts = {"step": synthesizer.step, "labels": synthesizer.labels.get_config()}
            (scratch / GENERATOR_FILE).write_text(json.dumps(facts), encoding="utf-8")
            write_warmup_requests(scratch, model_name, synthesizer)
            size_bytes = sum(file.stat().st_size for file in scratch.rglob("*") if file.is_file())
            sizes = synthesizer.parameters, size_bytes
            config = yaml.safe_load(config_yaml)
            card = model_card(model_name, config, synthesizer.step, *sizes, sounds, scores, synthesizer.labels)
            (scratch / CARD_FILE).write_text(card, encoding="utf-8")
    except (OSError, tf.errors.OpError) as error:  # TensorFlow's own writer does not raise OSError
        reason = error.message.rpartition("; ")[2] if isinstance(error, tf.errors.OpError) else error.strerror
        raise InputError(f"A SavedModel needs a folder that can be written. Received: {folder} ({reason}).") from error
    return version


def _write(synthesizer, folder, half):
    labels = synthesizer.labels
    makers, stored = synthesizer.half() if half else ([synthesizer.audio, synthesizer.notes], None)
    audio_of, notes_of = makers[0], makers[-1]

    def play(latents, pitch, duration_s, bend_semitones, *given):
        checked = _checked_notes(synthesizer, latents, pitch, duration_s, bend_semitones, *given)
        return {"audio": notes_of(*checked)}

    def audio(latents, *given):
        return {"audio": audio_of(*_checked(synthesizer, latents, *given))}

    def sample(count, seed, *asked):
        asked = dict(zip(labels.kinds, asked, strict=True))
        with tf.control_dependencies([*_count_rules(count), *_label_rules(labels, asked, ANY)]):
            count = tf.identity(count)
        latents = item_latents(count, seed, synthesizer.latent_dim, synthesizer.latent_distribution)
        chosen = labels.completed(asked, count, seed)
        named = {labels.inputs[kind]: values for kind, values in chosen.items()}
        return {"audio": audio_of(latents, *chosen.values()), "latents": latents, **named}

    def wav(latents, *given):
        waves = audio_of(*_checked(synthesizer, latents, *given))
        waves = waves if waves.shape.rank == 3 else waves[..., tf.newaxis]
        encoded = tf.map_fn(
            lambda wave: tf.audio.encode_wav(wave, synthesizer.sample_rate_hz),
            waves,
            fn_output_signature=tf.TensorSpec([], tf.string),
        )
        return {"wav_bytes": encoded}

    scalars = [tf.TensorSpec([], tf.int32, name="count"), tf.TensorSpec([], tf.int64, name="seed")]
    scalars += [tf.TensorSpec([], tf.int32, name=name) for name in labels.inputs.values()]
    functions = {
        "serving_default": tf.function(audio, input_signature=synthesizer.input_signature),
        "sample": tf.function(sample, input_signature=scalars),
        "wav": tf.function(wav, input_signature=synthesizer.input_signature),
    }
    if synthesizer.plays:
        functions["play"] = tf.function(play, input_signature=synthesizer.notes_signature)
    save_functions(synthesizer, functions, folder, stored)


def save_functions(synthesizer, functions, folder, stored=None):
    """Write functions that use a synthesizer as signatures of a SavedModel, without checks, model card or configuration.

    `stored` are the variables that hold the weights; None for those of the network and the representation.

    (`keras.export.ExportArchive` would store every weight twice.)
    """
    module = tf.Module()
    weights = (*synthesizer.generator.weights, *synthesizer.representation.weights)
    module.weights = [weight.value for weight in weights] if stored is None else stored
    tf.saved_model.save(module, tensorflow_path(folder), signatures=functions)


def _checked(synthesizer, latents, *given):
    """Return latents and labels; make the graph fail with a reason if they are invalid, as a server does not check shapes."""
    specs, labels = synthesizer.input_signature, synthesizer.labels
    latents, *given = [tf.ensure_shape(each, spec.shape) for each, spec in zip((latents, *given), specs, strict=True)]
    count = tf.shape(latents)[0]
    finite = tf.debugging.Assert(
        tf.reduce_all(tf.math.is_finite(tf.reshape(latents, [-1]))), ["Latents must be finite. Received: NaN or infinity."]
    )
    rules = [*_count_rules(count), finite]
    for kind, values in zip(labels.kinds, given, strict=True):
        rule = f"There must be as many values of {kind} as latents. Received:"
        rules.append(tf.debugging.Assert(tf.shape(values)[0] == count, [rule, tf.shape(values)[0], "and", count]))
    rules += _label_rules(labels, dict(zip(labels.kinds, given, strict=True)))
    with tf.control_dependencies(rules):
        return [tf.identity(each) for each in (latents, *given)]


def _checked_notes(synthesizer, latents, pitch, duration_s, bend_semitones, *given):
    """Return the inputs of `play`; make the graph fail with a reason if they are invalid."""
    labels = synthesizer.labels
    latents = tf.ensure_shape(latents, [None, synthesizer.latent_dim])
    others = dict(zip((kind for kind in labels.kinds if kind != "pitch"), given, strict=True))
    count = tf.shape(latents)[0]
    sizes = {"pitch": pitch, "bend_semitones": bend_semitones, **others}
    rules = [*_count_rules(count), *_label_rules(labels, others)]
    for name, values in sizes.items():
        rule = f"There must be as many values of {name} as latents. Received:"
        rules.append(tf.debugging.Assert(tf.shape(values)[0] == count, [rule, tf.shape(values)[0], "and", count]))
    in_range = tf.reduce_all((pitch >= 0.0) & (pitch <= float(HIGHEST_PITCH)))
    rules.append(tf.debugging.Assert(in_range, [f"`pitch` must be from 0 to {HIGHEST_PITCH}. Received:", pitch]))
    longest = tf.logical_and(duration_s > 0.0, duration_s <= float(LONGEST_NOTE_S))
    rules.append(
        tf.debugging.Assert(longest, [f"`duration_s` must be above 0 and at most {LONGEST_NOTE_S}. Received:", duration_s])
    )
    finite = tf.reduce_all(tf.math.is_finite(latents)) & tf.reduce_all(tf.math.is_finite(bend_semitones))
    rules.append(tf.debugging.Assert(finite, ["Latents and bends must be finite. Received: NaN or infinity."]))
    with tf.control_dependencies(rules):
        return [tf.identity(each) for each in (latents, pitch, duration_s, bend_semitones, *given)]


def _label_rules(labels, given, *others):
    """Return assertions that values, scalars or `(batch,)`, are among the generator's training labels or `others`."""
    rules = []
    for kind, values in given.items():
        known = tf.constant([*labels.values[kind], *others], tf.int32)
        allowed = tf.reduce_all(tf.reduce_any(values[..., tf.newaxis] == known, axis=-1))
        rules.append(tf.debugging.Assert(allowed, [one_line(f"`{kind}` must be {labels.listed(kind)}. Received:"), values]))
    return rules


def _count_rules(count):
    allowed = tf.logical_and(count >= 1, count <= LARGEST_REQUEST)
    return [tf.debugging.Assert(allowed, [f"A request must be for 1 to {LARGEST_REQUEST} sounds. Received:", count])]


class SavedSynthesizer(Synthesizer):
    """The synthesizer of a SavedModel that `export_saved_model` wrote.

    Args:
        folder: folder of a version, or of all versions, of which the highest is loaded.

    Raises:
        InputError: there is no SavedModel, or kgan did not export it.
    """

    def __init__(self, folder):
        folder = saved_model_version(folder)
        try:
            # Read these first, so that a model from elsewhere does not reach TensorFlow's loader.
            config, facts = (_read(folder / name) for name in (CONFIG_FILE, GENERATOR_FILE))
            self.sample_rate_hz = config["data"]["sample_rate_hz"]
            self.latent_distribution = config["gan"]["latent_distribution"]
            self.latent_dim = config["network"]["latent_dim"]
            self.clip_s = config["data"]["length_samples"] / self.sample_rate_hz
            self.step, self.labels = facts["step"], Labels(**facts["labels"])
        except (OSError, yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
            raise _not_ours(folder, f"{CONFIG_FILE} or {GENERATOR_FILE} is missing or not kgan's") from error
        try:
            with _plain_path(folder) as path:
                self._loaded = tf.saved_model.load(path)
        except Exception as error:  # the loader raises many kinds of errors
            raise _not_ours(folder, " ".join(str(error).split())) from error
        missing = set(SIGNATURES) - set(self._loaded.signatures)
        if missing:
            raise _not_ours(folder, f"it lacks the signatures {', '.join(sorted(missing))}")

    @property
    def weights(self):
        return [weight.numpy().astype(np.float32) for weight in getattr(self._loaded, "weights", [])]

    @property
    def plays(self):
        return "play" in self._loaded.signatures

    def notes(self, latents, pitch, duration_s, bend_semitones, *labels):
        others = (name for kind, name in self.labels.inputs.items() if kind != "pitch")
        given = {"latents": latents, "pitch": pitch, "duration_s": duration_s, "bend_semitones": bend_semitones}
        return self._loaded.signatures["play"](**given, **dict(zip(others, labels, strict=True)))["audio"]

    def audio(self, latents, *labels):
        given = dict(zip(self.labels.inputs.values(), labels, strict=True))
        return self._loaded.signatures["serving_default"](latents=latents, **given)["audio"]


@contextlib.contextmanager
def _plain_path(folder):
    """Yield a path to a folder for TensorFlow's loader, which treats names as patterns and supports only UTF-8."""
    if os.sep == "\\" or not re.search("[\\[*?\\\\\ud800-\udfff]", str(folder)):
        yield str(folder)
        return
    with tempfile.TemporaryDirectory() as scratch:
        link = Path(scratch) / "model"
        link.symlink_to(folder.resolve(), target_is_directory=True)
        yield str(link)


def saved_model_version(folder):
    """Return the folder that holds `saved_model.pb`: the given folder or its highest version.

    Raises:
        InputError: there is no such folder.
    """
    folder = Path(folder).expanduser()
    versions = _versions(folder)
    for candidate in (folder, folder / str(max(versions, default=0))):
        if (candidate / "saved_model.pb").is_file():
            return candidate
    raise InputError(f"There is no run and no SavedModel in {folder}.")


def exported_step(folder):
    """Return the step at which the highest version was exported; None if there is no version."""
    try:
        return _read(saved_model_version(folder) / GENERATOR_FILE)["step"]
    except (OSError, yaml.YAMLError, ValueError, KeyError, TypeError):
        return None


def _read(file):
    """Return the content of a YAML file. Reading JSON as JSON takes 0.1 s instead of 20 s for 300,000 label combinations."""
    text = file.read_text(encoding="utf-8")
    return json.loads(text) if text.startswith("{") else yaml.safe_load(text)


def _versions(folder):
    return [int(path.name) for path in folder.glob("*") if path.name.isdecimal()]


def _not_ours(folder, reason):
    return InputError(f"A SavedModel must be one that kgan exported. Received: {folder}: {reason}.")
