"""Generate very many sounds: each shard is generated when it is written, so that they are never all in memory."""

import functools
import hashlib
import itertools
import math

import numpy as np

from kgan.data.prepare import RECORDINGS_PER_SHARD, prepare
from kgan.data.recordings import Clipping, Recording


class GeneratedSource:
    """Sounds of a `Synthesizer` as a source for `prepare`. The sounds of a shard are generated when it is written.

    Sound i is the same as that of `generate` with the same seed, whatever the number of sounds.

    Args:
        synthesizer: a `Synthesizer`.
        count: number of latents.
        seed: seed of latents and labels.
        asked: `{kind: values}`; each latent is combined with all combinations of the values.
    """

    left_out = {}

    def __init__(self, synthesizer, count, seed=0, asked=None):
        self.synthesizer, self.count, self.seed, self.asked = synthesizer, count, seed, asked or {}
        self.label_names = synthesizer.labels.names

    def __len__(self):
        return self.count * math.prod(map(len, self.asked.values()))

    @property
    def description(self):
        """What identifies these sounds: the generator's weights, the seed, the requested labels and the number of sounds."""
        digest = hashlib.sha256(b"".join(weight.tobytes() for weight in self.synthesizer.weights))
        asked = {kind: list(map(int, values)) for kind, values in self.asked.items()}
        return {"generator": digest.hexdigest(), "seed": self.seed, "asked": asked, "sounds": len(self)}

    def recordings(self):
        """Yield a `Recording` for each sound. All sounds of a shard are generated when the first of them is read."""
        for start in range(0, len(self), RECORDINGS_PER_SHARD):
            shard = _Shard(self, np.arange(start, min(start + RECORDINGS_PER_SHARD, len(self))))
            for i, number in enumerate(shard.numbers):
                labels = {kind: int(values[i]) for kind, values in shard.labels.items()}
                content = functools.partial(shard.sound, i)
                yield Recording(f"{number:09d}", content, labels, self.synthesizer.sample_rate_hz)


class _Shard:
    def __init__(self, source, numbers):
        self._source, self.numbers = source, numbers
        self._of, self.labels = each_with_all(source.synthesizer, numbers, source.asked, source.seed)

    @functools.cached_property
    def _audio(self):
        first, last = self._of[[0, -1]]
        latents = self._source.synthesizer.latents(last - first + 1, self._source.seed, first)
        return self._source.synthesizer.generate(latents[self._of - first], self.labels)

    def sound(self, i):
        return self._audio[i]


def each_with_all(synthesizer, numbers, asked, seed):
    """Return the number of each sound's latent, `(count,)`, and the labels, `{kind: (count,)}`.

    The first latent comes with all combinations of the requested labels, then the second, and so on. Other labels are drawn
    once for each latent.

    Args:
        synthesizer: a `Synthesizer`.
        numbers: consecutive numbers of the sounds, `(count,)`.
        asked: the requested labels, `{kind: values}`.
        seed: seed of the drawn labels.
    """
    combinations = list(itertools.product(*asked.values()))
    of, combination = np.divmod(numbers, len(combinations))
    first, last = of[[0, -1]]
    trained = synthesizer.labels.values
    alike = {kind: values[0] for kind, values in asked.items() if len(values) == 1 and values[0] in trained.get(kind, ())}
    drawn = synthesizer.chosen_labels(last - first + 1, alike, seed, first)
    labels = {kind: values[of - first] for kind, values in drawn.items()}
    columns = zip(*(combinations[i] for i in combination), strict=True)
    return of, labels | dict(zip(asked, map(np.asarray, columns), strict=True))


def generate_shards(synthesizer, folder, count, seed=0, asked=None):
    """Write generated sounds as shards, with a progress bar. After an interruption, the same call continues.

    Memory does not grow with the number of sounds, because only one shard, 256 sounds, is in memory at a time.

    Args:
        synthesizer: a `Synthesizer`.
        folder: see `prepare`.
        count, seed, asked: see `GeneratedSource`.

    Returns:
        The manifest of `prepare`.

    Raises:
        InputError: the folder contains other files or other sounds.
    """
    first = synthesizer.generate(synthesizer.latents(1, seed))
    length_samples, channels = (*first.shape[1:], 1)[:2]
    clipping = Clipping(length_samples, synthesizer.sample_rate_hz, channels, silence_db=None, normalize=False)
    return prepare(GeneratedSource(synthesizer, count, seed, asked), folder, clipping, processes=1)
