import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kgan.audio.files import write_sounds
from kgan.audio.pictures import SHOWN_CLIPS, contact_sheet
from kgan.files import tensorflow_path
from kgan.synthesizer import GANSynthesizer

PLAYERS = 4  # in a notebook


class Preview(keras.callbacks.Callback):
    """Generate sounds from the same latents every few iterations, so that one can hear and see the generator learn.

    Writes `directory/step_00001000/`: a WAV file for each sound, `latents.npy`, and `contact_sheet.png` with waveforms and log
    spectrograms: that of the sound and, if the network generates a spectrogram, the network's own. In a notebook it also
    shows the sheet and a few audio players.

    Args:
        synthesizer: the `GANSynthesizer` that makes the sounds.
        directory: folder of the previews; None writes no files.
        every_steps: iterations between previews; another one follows at the end of training.
        count: number of sounds in a preview.
        log_dir: folder for TensorBoard's sounds and pictures; None for none.
        seed: integer seed of the latents and labels.
    """

    def __init__(
        self,
        synthesizer: GANSynthesizer,
        directory: str | Path | None = None,
        every_steps: int = 1000,
        count: int = 16,
        log_dir: str | Path | None = None,
        seed: int = 0,
    ):
        super().__init__()
        self.synthesizer = synthesizer
        self.directory = None if directory is None else Path(directory)
        self.every_steps = every_steps
        self.log_dir = log_dir
        self._latents = synthesizer.latents(count, seed)
        self._labels = synthesizer.chosen_labels(count, seed=seed)
        self._writer = None
        self._shown_step = None

    def on_train_begin(self, logs=None):
        if self.log_dir is not None:
            self._writer = tf.summary.create_file_writer(tensorflow_path(self.log_dir))

    def on_train_batch_end(self, batch, logs=None):
        if self.model.steps_done % self.every_steps == 0:
            self.show()

    def on_train_end(self, logs=None):
        self.show()
        if self._writer is not None:
            self._writer.close()

    def show(self) -> None:
        """Make a preview now, unless this step already has one or its sounds are not finite."""
        step = self.model.steps_done
        if step == self._shown_step:
            return
        self._shown_step = step
        self.synthesizer.refresh(self.model)
        audio = self.synthesizer.generate(self._latents, self._labels)
        if not np.isfinite(audio).all():
            return
        rate_hz = self.synthesizer.sample_rate_hz
        shown = {kind: values[:SHOWN_CLIPS] for kind, values in self._labels.items()}
        sheet = contact_sheet(audio, rate_hz, self.synthesizer.levels_db(self._latents[:SHOWN_CLIPS], shown))
        folder = self.directory and self.directory / f"step_{step:08d}"
        if folder and not folder.exists():  # a resumed run repeats the same sounds at the same step
            write_sounds(folder, audio, rate_hz, self._latents, sheet, self.synthesizer.labels.in_words(self._labels))
        if self._writer is not None:
            waves = audio if audio.ndim == 3 else audio[..., np.newaxis]
            with self._writer.as_default(step=step):
                tf.summary.audio("sounds", waves, rate_hz, max_outputs=8)
                tf.summary.image("contact_sheet", tf.io.decode_png(sheet)[tf.newaxis])
            self._writer.flush()
        if in_notebook():
            _show_in_notebook(step, audio, rate_hz, sheet)


def in_notebook():
    """Return whether this process is a notebook kernel, which can show sounds and pictures."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")


def _show_in_notebook(step, audio, sample_rate_hz, sheet):
    from IPython.display import Audio, Image, display

    print(f"Step {step}")
    display(Image(sheet))
    for clip in audio[:PLAYERS]:
        display(Audio(np.clip(clip.T, -1, 1), rate=sample_rate_hz, normalize=False))
