import keras
import numpy as np
from tqdm import tqdm

from kgan.audio.signal import SILENT_PEAK
from kgan.synthesizer import GANSynthesizer

COLLAPSED_VARIATION = 0.05  # relative to the sounds' level
EXPLODING_GAP_RATIO = 20.0  # relative to the median so far
EXPLODING_GAP = 100.0


class HealthWatch(keras.callbacks.Callback):
    """Warn in plain words when training goes wrong, and stop it if it cannot recover.

    (`keras.callbacks.TerminateOnNaN` checks only the term `loss`, which a GAN does not have.)

    Each finding is reported once, and again only if it disappeared in between:
        * a term is NaN or infinite: training stops, `failure` is set, and `Checkpoint` keeps the last good weights;
        * the sounds are silent;
        * the sounds no longer vary with the latents (mode collapse);
        * the critic's score gap explodes (divergence).

    Args:
        synthesizer: the `GANSynthesizer` that makes the sounds.
        every_steps: iterations between two checks of the sounds.
        count: number of sounds to check.

    Attributes:
        findings: `(step, text)` of all warnings.
        failure: why training was stopped; None if it was not.
    """

    def __init__(self, synthesizer: GANSynthesizer, every_steps: int = 100, count: int = 16):
        super().__init__()
        self.synthesizer = synthesizer
        self.every_steps = every_steps
        self.findings = []
        self.failure = None
        self._latents = synthesizer.latents(count)
        # All sounds have the same labels, so that differences come from the latents alone.
        self._labels = {kind: values[0] for kind, values in synthesizer.chosen_labels(1).items()}
        self._gaps = []
        self._present = set()

    def on_train_batch_end(self, batch, logs=None):
        logs = logs or {}
        step = self.model.steps_done
        broken = [name for name, value in logs.items() if not np.isfinite(value)]
        if broken:
            self.failure = f"{', '.join(broken)} became NaN or infinite at step {step}; training stopped."
            self._say(step, self.failure)
            self.model.stop_training = True
        elif step % self.every_steps == 0:
            self.synthesizer.refresh(self.model)
            present = diagnose_audio(self.synthesizer.generate(self._latents, self._labels))
            present |= diagnose_gaps(self._gaps, logs.get("score_gap", 0.0))
            self._gaps.append(logs.get("score_gap", 0.0))
            for text in sorted(present - self._present):
                self._say(step, text)
            self._present = present

    def _say(self, step, text):
        self.findings.append((step, text))
        tqdm.write(f"Warning at step {step}: {text}")


def diagnose_audio(audio):
    """Return what is wrong with a batch of sounds `(count, samples, ...)` as a set of sentences.

    Sounds are silent if their peak is below 0.001. They do not vary if their difference is below 5 % of their level.
    """
    audio = np.asarray(audio, np.float64)
    if np.abs(audio).max() < SILENT_PEAK:
        return {"The generator is silent: every sound's peak is below 0.001. If that lasts, lower the learning rate."}
    variation = audio.std(axis=0)
    if len(audio) > 1 and np.sqrt(np.mean(variation**2)) < COLLAPSED_VARIATION * np.sqrt(np.mean(audio**2)):
        return {"Mode collapse: all latents give nearly the same sound. Go back to an earlier checkpoint, or try wgan_gp."}
    return set()


def diagnose_gaps(earlier, gap):
    """Return a set with a warning if the score gap is far larger than the earlier ones, else an empty set."""
    if len(earlier) >= 3 and abs(gap) > max(EXPLODING_GAP, EXPLODING_GAP_RATIO * np.median(np.abs(earlier))):
        return {"The critic's score gap explodes: training diverges. Lower the learning rate."}
    return set()
