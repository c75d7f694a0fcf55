from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import matplotlib
import numpy as np
import tensorflow as tf
from tensorboard.plugins import projector
from tensorboard.plugins.hparams import api as hparams

from kgan.audio.pictures import FLOOR_DB, log_spectrogram
from kgan.audio.signal import mono
from kgan.evaluation.log_mel import LogMel
from kgan.files import tensorflow_path, whole_file
from kgan.synthesizer import GANSynthesizer
from kgan.text import one_line

MAP = "map"  # folder of the projector's files, within the log folder
THUMBNAIL = 48  # pixels: width and height of a spectrogram on the map
MAP_FFT_SAMPLES = 256
FIELDS = 8, 32  # times and mel bands; their mean levels are a sound's coordinates


class Board(keras.callbacks.TensorBoard):
    """Keras's TensorBoard callback, with iterations on the x axis, hyper-parameters and a map of generated sounds.

    The curves are the logs of each epoch. The HParams tab lists runs by their hyper-parameters, with the last value of every
    curve. The Projector tab shows each sound as its spectrogram, with its labels; the coordinates are the mean levels at 8
    times in 32 mel bands. The map is written when training ends.

    Args:
        synthesizer: the `GANSynthesizer` that makes the sounds.
        log_dir: folder of the run's other logs.
        hyper_parameters: `{name: value}`; a value that is not a number, text or boolean is listed as text.
        count: number of sounds on the map.
        seed: integer seed of their latents and labels.

    Raises:
        InputError: the path of the folder is not UTF-8.
    """

    def __init__(
        self,
        synthesizer: GANSynthesizer,
        log_dir: str | Path,
        hyper_parameters: Mapping[str, Any],
        count: int = 256,
        seed: int = 0,
    ):
        super().__init__(tensorflow_path(log_dir), write_graph=False)
        self._folder = Path(log_dir)  # the path for Python; the base class keeps the one for TensorFlow
        self.synthesizer = synthesizer
        self.hyper_parameters = hyper_parameters
        self.count = count
        self.seed = seed

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        values = {
            name: value if isinstance(value, bool | int | float) else one_line(value)
            for name, value in self.hyper_parameters.items()
        }
        with tf.summary.create_file_writer(self.log_dir).as_default(step=0):
            hparams.hparams(values, trial_id=self.log_dir)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(self.model.steps_done, logs)

    def on_train_end(self, logs=None):
        super().on_train_end(logs)
        self.synthesizer.refresh(self.model)
        latents = self.synthesizer.latents(self.count, self.seed)
        labels = self.synthesizer.chosen_labels(self.count, seed=self.seed)
        audio = mono(self.synthesizer.generate(latents, labels))
        if np.isfinite(audio).all():
            write_map(self._folder, audio, self.synthesizer.sample_rate_hz, self._named(labels))

    def _named(self, labels):
        names = self.synthesizer.labels
        return {kind: [names.named(kind, value) for value in values] for kind, values in labels.items()}


def write_map(log_dir, audio, sample_rate_hz, labels):
    """Write a map of sounds for TensorBoard's projector into a log folder, replacing an earlier map.

    Args:
        log_dir: the folder.
        audio: float `(count, samples)`.
        sample_rate_hz: samples per second.
        labels: `{kind: (count,) texts}`.
    """
    log_mel = LogMel(sample_rate_hz, fft_samples=MAP_FFT_SAMPLES)
    padded = np.pad(audio, ((0, 0), (0, max(0, MAP_FFT_SAMPLES - audio.shape[1]))))
    levels = np.concatenate([log_mel(padded[i : i + 64]) for i in range(0, len(audio), 64)])
    places = tf.image.resize(levels[..., tf.newaxis], FIELDS, method="area").numpy().reshape(len(audio), -1)
    head = [["sound", *labels]] if labels else []  # in a file of one column, the projector would take a header for a sound
    table = [*head, *zip(map(str, range(len(audio))), *labels.values(), strict=True)]
    folder = Path(log_dir) / MAP
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / "places.tsv") as scratch:
        np.savetxt(scratch, places, delimiter="\t", fmt="%.4f")
    with whole_file(folder / "sounds.tsv") as scratch:
        scratch.write_text("".join("\t".join(map(one_line, row)) + "\n" for row in table), encoding="utf-8")
    with whole_file(folder / "sounds.png") as scratch:
        scratch.write_bytes(tf.io.encode_png(_sprite(audio)).numpy())
    config = projector.ProjectorConfig()
    embedding = config.embeddings.add(tensor_name="sounds", tensor_path=f"{MAP}/places.tsv", metadata_path=f"{MAP}/sounds.tsv")
    embedding.sprite.image_path = f"{MAP}/sounds.png"
    embedding.sprite.single_image_dim.extend([THUMBNAIL, THUMBNAIL])
    projector.visualize_embeddings(tensorflow_path(log_dir), config)


def _sprite(audio):
    """Return all spectrograms in one square picture, uint8 `(height, width, 3)`."""
    side = int(np.ceil(np.sqrt(len(audio))))
    pictures = np.zeros((side * side, THUMBNAIL, THUMBNAIL))
    for i, clip in enumerate(audio):
        levels = 1 - log_spectrogram(clip)[::-1, :, np.newaxis] / FLOOR_DB
        pictures[i] = tf.image.resize(levels, (THUMBNAIL, THUMBNAIL), method="area").numpy()[..., 0]
    sheet = pictures.reshape(side, side, THUMBNAIL, THUMBNAIL).transpose(0, 2, 1, 3).reshape(side * THUMBNAIL, -1)
    return matplotlib.colormaps["magma"](sheet, bytes=True)[..., :3]
