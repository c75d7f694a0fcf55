"""The classifier for the scores, which is trained once for each data set and kept in the cache."""

import hashlib
import json
from typing import NamedTuple

import filelock
import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from kgan.audio.signal import mono
from kgan.data.pipeline import training_dataset
from kgan.data.sounds import PITCHES, has_pitches
from kgan.errors import InputError, unknown_name
from kgan.evaluation.log_mel import LogMel
from kgan.files import cache_folder, whole_folder
from kgan.networks.strided import StridedConv1D
from kgan.representations import Wave

VERSION = 3  # of the cache: increase it when the trained classifiers change
FINGERPRINT_BATCH = 1024  # clips in memory at a time
EMBEDDING_WIDTH = 128
BATCH_SIZE = 64
EPOCHS, PEAK_LEARNING_RATE = 10, 3e-3
MOST_CLIPS_PER_EPOCH, MOST_VALID_CLIPS = 20_000, 2_000
LEAST_STEPS_PER_EPOCH = 24  # small sets are repeated within an epoch
NOISE_DB = -80.0, -20.0  # noise in every second training sound, relative to the sound's RMS
SEED = 0
BATCH_NORM_MOMENTUM = 0.9  # Keras's 0.99 is too slow for the few hundred steps of small sets
PREFERRED_LABELS = ("family", "class")


class Predictions(NamedTuple):
    """Outputs of a classifier for sounds.

    Attributes:
        label: probabilities `(count, classes)`.
        pitch: probabilities `(count, 128)`, one for each MIDI pitch; None if the data has no pitches.
        embedding: the last hidden layer, `(count, 128)`.
    """

    label: np.ndarray
    pitch: np.ndarray | None
    embedding: np.ndarray


class Classifier:
    """Classifies sounds by a label, such as the instrument family, and by pitch. `load_classifier` trains it.

    Attributes:
        description: a dictionary that identifies the classifier: `architecture`, `label`, `classes`, `sample_rate_hz`,
            `length_samples`, the numbers of training and test sounds, its `accuracy` and `pitch_accuracy` on the test sounds,
            and the `fingerprint` of its weights.
    """

    def __init__(self, model, description):
        self.description = description
        self._model = model
        self._predict = tf.function(
            lambda audio: model(audio, training=False),
            input_signature=[tf.TensorSpec([None, *model.input_shape[1:]], tf.float32)],
        )

    def predict(self, sounds, progress=False):
        """Return the `Predictions` for `Sounds`.

        Raises:
            InputError: their sample rate or length differs from that of the training sounds.
        """
        here = sounds.sample_rate_hz, sounds.waveforms([0]).shape[1]
        trained = self.description["sample_rate_hz"], self.description["length_samples"]
        if here != trained:
            raise InputError(
                f"The classifier was trained on {trained[1]} samples at {trained[0]} Hz. Received: {here[1]} at {here[0]} Hz."
            )
        batches = np.array_split(np.arange(len(sounds)), -(-len(sounds) // BATCH_SIZE))
        outputs = []
        for batch in tqdm(batches, "Classifying", unit="batch", leave=False, disable=not progress):
            outputs.append(self._predict(mono(sounds.waveforms(batch))))
        joined = {name: np.concatenate([output[name].numpy() for output in outputs]) for name in outputs[0]}
        pitch = _softmax(joined["pitch"]) if "pitch" in joined else None
        return Predictions(_softmax(joined["label"]), pitch, joined["embedding"])


def load_classifier(train, valid, test, architecture="mel", label=None, cache=None):
    """Return the classifier of a data set. If it is not in the cache, it is trained first, with a progress bar.

    The classifier depends only on the data and these arguments, not on the seed of a run. Scores of all runs on the same data
    are therefore comparable.

    Args:
        train, valid, test: `Sounds` with the same kinds of labels. `valid` selects the epoch, `test` gives the accuracy.
        architecture: `"mel"`, four blocks over a log mel spectrogram, or `"wave"`, five strided convolutions over samples.
        label: the kind of label to classify; see `usable_label`.
        cache: folder of the cache; by default `$KGAN_CACHE`, else the user's cache folder.

    Raises:
        InputError: the sounds do not have the label, or all have the same value.
    """
    if architecture not in ARCHITECTURES:
        raise unknown_name("classifier", architecture, ARCHITECTURES)
    parts = train, valid, test
    label = usable_label(train, label)
    for name, part in (("validation", valid), ("test", test)):
        if not np.isin(part.labels.get(label, ()), train.labels[label]).any():
            raise InputError(
                f"A classifier needs a label whose values {name} sounds share. Received: {label}, which has no shared values."
            )
    values = np.unique(np.concatenate([part.labels[label] for part in parts]))
    names = [train.label_names[label][value] if label in train.label_names else str(value) for value in values]
    heads = {"label": label} | ({"pitch": "pitch"} if all(map(has_pitches, parts)) else {})
    key = [str(VERSION), architecture, label, *names, *heads, *(fingerprint(part) for part in parts)]
    data = hashlib.sha256("\n".join(key).encode()).hexdigest()[:16]
    cache = cache or cache_folder()
    folder = cache / f"classifier-{data}"
    cache.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.with_suffix(".lock")):  # one process trains, others wait for it
        if not folder.exists():
            keras.utils.set_random_seed(SEED)
            model = _build(train, architecture, len(names), heads)
            truths = [_truth(part, heads, values) for part in parts]
            _fit(model, train, valid, truths[0], truths[1], f"Training the {architecture} classifier (once)")
            description = {
                "architecture": architecture,
                "label": label,
                "classes": names,
                "sample_rate_hz": train.sample_rate_hz,
                "length_samples": model.input_shape[1],
                "train_sounds": len(train),
                "test_sounds": len(test),
                "fingerprint": hashlib.sha256(b"".join(each.tobytes() for each in model.get_weights())).hexdigest()[:12],
            }
            predictions = Classifier(model, description).predict(test, progress=True)
            description["accuracy"] = float(np.mean(predictions.label.argmax(axis=1) == truths[2]["label"]))
            if predictions.pitch is not None:
                description["pitch_accuracy"] = float(np.mean(predictions.pitch.argmax(axis=1) == truths[2]["pitch"]))
            with whole_folder(folder) as scratch:
                model.save(scratch / "classifier.keras")
                (scratch / "classifier.json").write_text(json.dumps(description, indent=1), encoding="utf-8")
    description = json.loads((folder / "classifier.json").read_text(encoding="utf-8"))
    return Classifier(keras.saving.load_model(folder / "classifier.keras", compile=False, safe_mode=True), description)


def usable_label(sounds, label=None):
    """Return the kind of label to classify: `label` if given, or `family`, else `class`, else the first with names.

    Raises:
        InputError: there is no such label, some sounds lack it, or all sounds have the same value.
    """
    if label is None:
        named = [kind for kind in (*PREFERRED_LABELS, *sounds.label_names) if kind in sounds.labels]
        if not named:
            raise InputError("A classifier needs names as labels: sub-folders, or --data.labels_csv. Received: sounds without.")
        label = named[0]
    if label not in sounds.labels:
        raise unknown_name("label", label, sounds.labels)
    unknown = int(np.sum(np.asarray(sounds.labels[label]) < 0))
    if unknown:
        raise InputError(f"A classifier needs a label that all sounds have. Received: {label}, which {unknown:,} of them lack.")
    if len(np.unique(sounds.labels[label])) < 2:
        raise InputError(f"A classifier needs a label of two or more classes. Received: {label}, the same for all sounds.")
    return label


def fingerprint(sounds):
    """Return a hash of a set's ids, labels and sounds."""
    digest = hashlib.sha256("\n".join(sounds.ids).encode())
    for kind in sorted(sounds.labels):
        digest.update(kind.encode() + np.asarray(sounds.labels[kind], np.int64).tobytes())
    for start in range(0, len(sounds), FINGERPRINT_BATCH):
        digest.update(sounds.waveforms(slice(start, start + FINGERPRINT_BATCH)).tobytes())
    return digest.hexdigest()[:16]


def mel_network(length_samples, sample_rate_hz):
    """Return a model from audio `(length_samples,)` to an embedding: four blocks over 128 log mel bins, 40 to 7800 Hz.

    Reference: Donahue et al. 2019, "Adversarial Audio Synthesis", section 5.1. https://arxiv.org/abs/1802.04208
    """
    layers = keras.layers
    audio = keras.Input((length_samples,))
    x = LogMel(sample_rate_hz, fft_samples=1024)(audio)  # (batch, frames, 128)
    x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)  # per mel bin
    x = layers.Reshape((*x.shape[1:], 1))(x)
    for width in (16, 32, 64, 128):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.MaxPooling2D(2, padding="same")(x)  # first, because it cuts the work of the following layers to a quarter
        x = layers.ReLU()(layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x))
    x = layers.MaxPooling2D((x.shape[1], 1))(x)  # pool over time only: the pitch depends on the position among the bins
    return keras.Model(audio, _embedding(layers.Flatten()(x)))


def wave_network(length_samples, sample_rate_hz, dim=64):
    """Return a model from audio `(length_samples,)` to an embedding: five convolutions of 25 taps and stride 4 over samples.

    The widths are `dim` to 16 `dim`, each with batch normalisation, followed by max-pooling over time. The sample rate is
    not used.
    """
    layers = keras.layers
    audio = keras.Input((length_samples,))
    x = layers.Reshape((length_samples, 1))(audio)
    x = layers.ZeroPadding1D((0, -length_samples % 4**5))(x)  # a multiple of all strides
    for factor in (1, 2, 4, 8, 16):
        x = StridedConv1D(factor * dim, 25, 4, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x))
    return keras.Model(audio, _embedding(layers.GlobalMaxPooling1D()(x)))


def _embedding(x):
    """Return the last hidden layer. Its features have variance 1 over the training sounds, which gives distances a scale."""
    x = keras.layers.Dense(EMBEDDING_WIDTH, activation="relu")(keras.layers.Dropout(0.3)(x))
    return keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, center=False, scale=False)(x)


ARCHITECTURES = {"mel": mel_network, "wave": wave_network}


def _build(sounds, architecture, classes, heads):
    """Return a model from audio to the logits of each head and to `embedding`."""
    network = ARCHITECTURES[architecture](sounds.waveforms([0]).shape[1], sounds.sample_rate_hz)
    embedding = network.outputs[0]
    units = {"label": classes, "pitch": PITCHES}
    outputs = {head: keras.layers.Dense(units[head], name=head)(embedding) for head in heads}
    return keras.Model(network.inputs, outputs | {"embedding": embedding})


def _truth(sounds, heads, values):
    """Return the class of each sound for each head, counted from 0."""
    truth = {head: np.asarray(sounds.labels[kind], np.int32) for head, kind in heads.items()}
    return truth | {"label": np.searchsorted(values, truth["label"]).astype(np.int32)}


def _fit(model, train, valid, train_truth, valid_truth, title):
    trained = keras.Model(model.inputs, {head: model.output[head] for head in train_truth})
    batch_size = min(BATCH_SIZE, len(train))
    steps = max(LEAST_STEPS_PER_EPOCH, min(len(train), MOST_CLIPS_PER_EPOCH) // batch_size)
    loss = keras.losses.SparseCategoricalCrossentropy
    trained.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(PEAK_LEARNING_RATE, EPOCHS * steps)),
        loss={head: loss(from_logits=True) for head in train_truth},
    )
    dataset = training_dataset(train.relabelled(train_truth), Wave(train.waveforms([0]).shape[1]), batch_size, seed=SEED)

    def example(number, element):
        audio = with_noise(tf.reduce_mean(element["x"], axis=2), (SEED, number))
        return audio, {head: element[head] for head in train_truth}

    chosen = np.random.default_rng(SEED).permutation(len(valid))[:MOST_VALID_CLIPS]
    with tqdm(total=EPOCHS * steps, desc=title, unit="step") as bar:
        trained.fit(
            dataset.enumerate().map(example),
            epochs=EPOCHS,
            steps_per_epoch=steps,
            validation_data=(mono(valid.waveforms(chosen)), {head: values[chosen] for head, values in valid_truth.items()}),
            validation_batch_size=BATCH_SIZE,
            shuffle=False,  # the dataset is already shuffled
            verbose=0,
            callbacks=[
                keras.callbacks.EarlyStopping("val_loss", patience=EPOCHS, restore_best_weights=True),  # keep the best epoch
                keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: bar.update()),
            ],
        )


def with_noise(audio, seed):
    """Add white noise to every second sound of `audio`, `(batch, samples)`, at a random level within `NOISE_DB`.

    Synthesised sounds are silent between their harmonics. A classifier trained only on such sounds relies on that silence:
    inaudible noise, 50 dB below a note, costs it a third of its accuracy.

    Args:
        seed: two integers, which determine the noise.
    """
    shape = tf.shape(audio)
    level_db = tf.random.stateless_uniform((shape[0], 1), seed, *NOISE_DB)
    noise = tf.random.stateless_normal(shape, (seed[0] + 1, seed[1])) * tf.cast(
        tf.range(shape[0])[:, tf.newaxis] % 2, audio.dtype
    )
    return audio + noise * 10.0 ** (level_db / 20.0) * tf.sqrt(tf.reduce_mean(audio**2, axis=1, keepdims=True))


def _softmax(logits):
    return tf.nn.softmax(tf.cast(logits, tf.float64)).numpy()
