"""Sounds by the million: generated as they are written to shards, never all in memory."""

import functools
import hashlib
import itertools

import numpy as np

from kgan.data.prepare import RECORDINGS_PER_SHARD, prepare
from kgan.data.recordings import Clipping, Recording


class GeneratedSource:
    """Sounds that a `Synthesizer` makes, as a source for `prepare`: a shard's are made when it is written, and only then.

    Sound i is the one that `generate` makes of the same seed, whatever the number of sounds.

    Args:
        synthesizer: a `Synthesizer`.
        count: how many latents.
        seed: of latents and labels.
        asked: `{kind: values}`; every latent sounds with all combinations of them.
    """

    def __init__(self, synthesizer, count, seed=0, asked=None):
        self.synthesizer, self.count, self.seed, self.asked = synthesizer, count, seed, asked or {}
        self.label_names = synthesizer.labels.names
        self._combinations = np.array(list(itertools.product(*self.asked.values())), np.int32)  # (combinations, kinds)

    def __len__(self):
        return self.count * len(self._combinations)

    @property
    def description(self):
        """What tells these sounds from others: the generator's weights, the seed, what is asked for, and how many."""
        digest = hashlib.sha256(b"".join(np.ascontiguousarray(weight).tobytes() for weight in self.synthesizer.weights))
        asked = {kind: list(map(int, values)) for kind, values in self.asked.items()}
        return {"generator": digest.hexdigest(), "seed": self.seed, "asked": asked, "sounds": len(self)}

    def recordings(self):
        """Yield a `Recording` for each sound, which is made when it is first looked at, with all of its shard."""
        for start in range(0, len(self), RECORDINGS_PER_SHARD):
            shard = _Shard(self, np.arange(start, min(start + RECORDINGS_PER_SHARD, len(self))))
            for i, number in enumerate(shard.numbers):
                labels = {kind: int(values[i]) for kind, values in shard.labels.items()}
                content = functools.partial(shard.sound, i)
                yield Recording(f"{number:09d}", content, labels, self.synthesizer.sample_rate_hz)


class _Shard:
    def __init__(self, source, numbers):
        self._source, self.numbers = source, numbers
        # Sounds follow each other as those of `generate`: the first latent with all combinations, then the second.
        self._of, combination = np.divmod(numbers, len(source._combinations))
        self._first, self._latents = self._of[0], self._of[-1] - self._of[0] + 1
        alike = {kind: values[0] for kind, values in source.asked.items() if len(values) == 1}
        drawn = source.synthesizer.chosen_labels(self._latents, alike, source.seed, self._first)
        self.labels = {kind: values[self._of - self._first] for kind, values in drawn.items()}
        self.labels |= {kind: source._combinations[combination, i] for i, kind in enumerate(source.asked)}

    @functools.cached_property
    def _audio(self):
        latents = self._source.synthesizer.latents(self._latents, self._source.seed, self._first)
        return self._source.synthesizer.generate(latents[self._of - self._first], self.labels)

    def sound(self, i):
        return self._audio[i]


def generate_shards(synthesizer, folder, count, seed=0, asked=None):
    """Write generated sounds as shards, with a progress bar; after an interruption the same call goes on.

    Memory does not grow with their number: those of a shard, 256, are there at a time.

    Args:
        synthesizer: a `Synthesizer`.
        folder: see `prepare`.
        count, seed, asked: see `GeneratedSource`.

    Returns:
        `prepare`'s manifest.

    Raises:
        InputError: the folder holds something else.
    """
    first = synthesizer.generate(synthesizer.latents(1, seed))
    length_samples, channels = (*first.shape[1:], 1)[:2]
    clipping = Clipping(length_samples, synthesizer.sample_rate_hz, channels, silence_db=None, normalize=False)
    return prepare(GeneratedSource(synthesizer, count, seed, asked), folder, clipping, processes=1)
