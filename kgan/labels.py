"""Labels that a generator can be asked for: a pitch, a family, a class."""

import difflib
import keyword
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

import librosa
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from kgan.errors import InputError, unknown_name
from kgan.noise import folded_seed

ANY = -1  # a requested value that is drawn at random
UNKNOWN = -1  # the value of a label that a sound does not have
DRAWN = 1  # separates the random stream of labels from that of latents
MOST_LISTED, FIRST_LISTED = 24, 3  # messages list up to 24 values of a kind, and otherwise the first 3
USUAL_KINDS = ("pitch", "family", "instrument", "velocity", "class")  # the kinds that "auto" takes
TAKEN_NAMES = (
    "audio",
    "bend_semitones",
    "count",
    "duration_s",
    "latents",
    "seed",
    "self",
    "wav_bytes",
    "x",
)  # other inputs and outputs of an exported model

NUMBER = r"([0-9]{1,9})(?:\.0*)?"
NOTE = r"[A-Ga-g][#b]{0,2}-?\d"  # C4, F#3, Bb-1; middle C is C4, MIDI pitch 60


def midi_number(text, names=True):
    """Parse a MIDI number: `60`, `60.0` or, with `names`, `C4`.

    Raises:
        ValueError: It is not a number from 0 to 127. The message is meant to follow the name of the value.
    """
    text = text.strip()
    try:
        number = librosa.note_to_midi(text) if names and re.fullmatch(NOTE, text) else int(re.fullmatch(NUMBER, text)[1])
    except TypeError:  # the text has neither form
        number = -1
    if number not in range(128):
        raise ValueError("must be a MIDI number from 0 to 127" + (" or the name of a note, such as C4 or F#3" if names else ""))
    return int(number)


class LabelledSounds(Protocol):
    """Protocol of sounds with labels, such as `Sounds` and `ShardedSounds`."""

    ids: Sequence[str] | np.ndarray
    labels: Mapping[str, np.ndarray]
    label_names: Mapping[str, Sequence[str]]

    def __len__(self) -> int: ...


class Labels:
    """The kinds of labels that a GAN is conditioned on, and the values of each kind in the data.

    Networks get each label as a one-hot vector. The vectors of all kinds are concatenated to `(batch, width)`.

    Args:
        columns: `{kind: values}`: the combinations of labels in the data. Values are integers from 0, the same number for
            each kind. Without any kind, the GAN is unconditional.
        counts: Number of sounds with each combination; None if all are equally frequent.
        names: `{kind: names}` for kinds whose values have names: value 0 has the first name.

    Attributes:
        kinds: The names of the kinds, a tuple.
        inputs: `{kind: input name of an exported model}`. It is the kind itself, but `class_` for `class` and likewise for
            other Python keywords.
        values: `{kind: the values in the data}`, ascending.
        width: Total width of the one-hot vectors, 0 without labels.

    Raises:
        InputError: A value is negative (unknown), or an exported model could not use the name of a kind.

    Example:
        >>> labels = Labels({"pitch": range(36, 84)})
        >>> labels.one_hot({"pitch": [36, 83]}).shape
        TensorShape([2, 48])
    """

    def __init__(
        self,
        columns: Mapping[str, Iterable[int]] | None = None,
        counts: ArrayLike | None = None,
        names: Mapping[str, Iterable[str]] | None = None,
    ):
        self.columns = {kind: np.asarray(list(values), np.int32) for kind, values in (columns or {}).items()}
        self.kinds = tuple(self.columns)
        self.inputs = {kind: f"{kind}_" if keyword.iskeyword(kind) else kind for kind in self.kinds}
        combinations = len(self.columns[self.kinds[0]]) if self.kinds else 1
        self.counts = np.ones(combinations, np.int32) if counts is None else np.asarray(counts, np.int32)
        self.names = {kind: list(each) for kind, each in (names or {}).items() if kind in self.columns}
        self.values = {kind: np.unique(column) for kind, column in self.columns.items()}
        for kind, values in self.values.items():
            taken = [*TAKEN_NAMES, *(name for other, name in self.inputs.items() if other != kind)]
            if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", kind) or kind in taken:
                rule = f"The name of a label must be of letters, digits and _, and none of {', '.join(taken)}."
                raise InputError(f"{rule} Received: {kind}.")
            if values[0] < 0:
                raise InputError(f"Every sound must have a value of a label that is learned. Received: {kind} {values[0]}.")
        self.width = sum(map(len, self.values.values()))

    @classmethod
    def of(cls, sounds: LabelledSounds, kinds: Sequence[str] | Literal["auto"] | None) -> "Labels":
        """Return the `Labels` of sounds for the given kinds.

        Args:
            sounds: `Sounds` or `ShardedSounds`.
            kinds: Names of kinds. `"auto"` takes each of pitch, family, instrument, velocity and class of which the sounds
                have several values. None takes none.

        Returns:
            `Labels` with all combinations in the sounds and their counts.

        Raises:
            InputError: The sounds have no label of that kind, or some of them lack it.
        """
        if kinds == "auto":
            kinds = [kind for kind in USUAL_KINDS if len(np.setdiff1d(sounds.labels.get(kind, ()), [UNKNOWN])) > 1]
        for kind in kinds or ():
            if kind not in sounds.labels:
                raise unknown_name("label", kind, sounds.labels)
            lacking = np.flatnonzero(np.asarray(sounds.labels[kind]) < 0)
            if len(lacking):
                raise InputError(
                    f"Every sound must have a value of a label that is learned. Received: {kind}, which {len(lacking):,} of"
                    f" {len(sounds):,} sounds lack, {sounds.ids[lacking[0]]} first. Label them, take them out, or name other"
                    " labels by --conditioning.labels; null learns none."
                )
        if not kinds:
            return cls()
        rows = np.stack([sounds.labels[kind] for kind in kinds], axis=1)
        combinations, counts = np.unique(rows, axis=0, return_counts=True)
        return cls(dict(zip(kinds, combinations.T, strict=True)), counts, sounds.label_names)

    def described(self, asked: Sequence[str] | Literal["auto"] | None, sounds: LabelledSounds) -> str:
        """Describe in a sentence which labels are learned and how many values each has, or why none are.

        Args:
            asked: Kinds, `"auto"` or None, see `of`.
            sounds: The sounds with the labels.

        Returns:
            The sentence, without line breaks.
        """
        if self.kinds:
            return f"It learns to make sounds by their labels: {_counted(self.values)}."
        there = {kind: np.setdiff1d(values, [UNKNOWN]) for kind, values in sounds.labels.items()}
        if not there:
            return "It learns no labels: these sounds have none."
        taken = f"auto takes {', '.join(USUAL_KINDS)}, where they have several values"
        return (
            f"It learns no labels: {taken if asked == 'auto' else 'none were requested'}; these sounds have {_counted(there)}."
        )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor in a form for JSON and YAML."""
        columns = {kind: values.tolist() for kind, values in self.columns.items()}
        return {"columns": columns, "counts": self.counts.tolist(), "names": self.names}

    def one_hot(self, labels: Mapping[str, ArrayLike | tf.Tensor]) -> tf.Tensor:
        """Return labels as concatenated one-hot vectors. A value that is not in the data becomes all zeros.

        Args:
            labels: `{kind: integers (batch,)}` for all kinds.

        Returns:
            float32 `(batch, width)`.

        Raises:
            KeyError: A kind is missing.
        """
        parts = [tf.convert_to_tensor(labels[kind], tf.int32)[:, tf.newaxis] == self.values[kind] for kind in self.kinds]
        return tf.cast(tf.concat(parts, axis=1), tf.float32)

    def cross_entropy(self, logits: tf.Tensor, one_hot: tf.Tensor) -> tf.Tensor:
        """Return the mean of -log p(label) over a batch, summed over the kinds.

        Args:
            logits: Logits of a classifier, float32 `(batch, width)`; each kind has its own softmax.
            one_hot: Labels, float32 `(batch, width)`, see `one_hot`.

        Returns:
            A scalar, in nats.
        """
        sizes = [len(values) for values in self.values.values()]
        parts = zip(tf.split(logits, sizes, axis=1), tf.split(one_hot, sizes, axis=1), strict=True)
        return tf.add_n([tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=y, logits=x)) for x, y in parts])

    def completed(
        self,
        asked: Mapping[str, ArrayLike | tf.Tensor],
        count: int | tf.Tensor,
        seed: int | tf.Tensor,
        first: int | tf.Tensor = 0,
    ) -> dict[str, tf.Tensor]:
        """Return labels for sounds: the requested values, with the rest drawn from matching combinations in the data.

        If no combination in the data has all requested values, the rest is drawn from those that match in most kinds.
        A draw depends only on the seed and the number of the sound. Works in a graph.

        Args:
            asked: `{kind: integers (count,) or a scalar}`; -1 or a missing kind is drawn at random.
            count: Number of sounds, an integer or a scalar tensor.
            seed: Random seed, an integer or a scalar tensor.
            first: Number of the first sound, an integer or a scalar tensor.

        Returns:
            `{kind: int32 (count,)}`, all kinds in the order of `kinds`.
        """
        if not self.kinds:
            return {}
        asked = {kind: tf.broadcast_to(tf.cast(asked.get(kind, ANY), tf.int32), [count]) for kind in self.kinds}
        wanted = tf.stack(list(asked.values()), axis=1)
        chosen = _combinations(np.stack(list(self.columns.values())), self.counts, wanted, _places(count, seed, first))
        return {kind: tf.where(values == ANY, tf.gather(self.columns[kind], chosen), values) for kind, values in asked.items()}

    def check(self, labels: Mapping[str, ArrayLike]) -> None:
        """Raise an error if a value is not in the data.

        Args:
            labels: `{kind: integers}` of any shape; -1 stands for any value.

        Raises:
            InputError: A kind or a value is unknown.
        """
        for kind, values in labels.items():
            if kind not in self.kinds:
                raise self._unknown(kind)
            strange = np.setdiff1d(values, [ANY, *self.values[kind]])
            if len(strange):
                raise InputError(f"`{kind}` must be {self.listed(kind)}. Received: {self.named(kind, strange[0])}.")

    def parsed(self, kind: str, text: str) -> list[int]:
        """Parse label values: `60`, `C4`, `48-72`, `60,64,67`, `organ` or `organ,flute`.

        Args:
            kind: One of `kinds`.
            text: Comma-separated values or ranges. A value is a number, the name of a note if the kind is `pitch`, or a name
                if the kind has names. Names cannot form ranges.

        Returns:
            Integers in the order of the text. A range includes both ends.

        Raises:
            InputError: The kind or a value is unknown.
        """
        if kind not in self.kinds:
            raise self._unknown(kind)
        names = {unicodedata.normalize("NFC", name): value for value, name in enumerate(self.names.get(kind, ()))}
        values, text = [], unicodedata.normalize("NFC", text)
        for part in [text] if text in names else map(str.strip, text.split(",")):
            if part in names:
                values.append(names[part])
                continue
            number = rf"({NOTE}|\d+)" if kind == "pitch" else r"(\d+)"
            found = None if names else re.fullmatch(rf"{number}(?:-{number})?", part)
            if not found:
                raise InputError(f"`{kind}` must be {self.listed(kind)}. Received: {text}.{self._hint(kind, part)}")
            first, last = (
                midi_number(each) if not each.isdecimal() else int(each) for each in (found[1], found[2] or found[1])
            )
            if first > last:
                raise InputError(f"A range must go up, such as 48-72. Received: {part}.")
            self.check({kind: [first, last]})
            values += range(first, last + 1)
        self.check({kind: values})
        return values

    def listed(self, kind: str) -> str:
        """Describe the values of a kind, such as `from 48 to 72` or `one of bass, flute`. Long lists are shortened.

        Args:
            kind: One of `kinds`.

        Returns:
            A phrase to follow "must be".

        Raises:
            KeyError: The kind is unknown.
        """
        values = self.values[kind]
        if kind not in self.names and 1 < len(values) == values[-1] - values[0] + 1:
            return f"from {values[0]} to {values[-1]}"
        many = len(values) > MOST_LISTED
        listed = ", ".join(self.named(kind, value) for value in (values[:FIRST_LISTED] if many else values))
        return f"one of {listed}, ... ({len(values):,} in all)" if many else f"one of {listed}"

    def _hint(self, kind, received):
        """Return a sentence with the known names that are most similar to an unknown one, or ""."""
        names = [self.named(kind, value) for value in self.values[kind]] if kind in self.names else []
        nearest = difflib.get_close_matches(received, names)
        return f" Did you mean {' or '.join(f'`{name}`' for name in nearest)}?" if nearest else ""

    def named(self, kind: str, value: int) -> str:
        """Return the name of a value, or the number as text if it has no name.

        Args:
            kind: Any kind, also one that is not in `kinds`.
            value: An integer.

        Returns:
            The name, such as `organ`, or the number, such as `60`.
        """
        names = self.names.get(kind, ())
        return names[value] if 0 <= value < len(names) else str(value)

    def in_words(self, labels: Mapping[str, Iterable[int]]) -> dict[str, list[str]]:
        """Return the names of labels, or the numbers as text where they have no names.

        Args:
            labels: `{kind: integers (count,)}`.

        Returns:
            `{kind: count texts}`.
        """
        return {kind: [self.named(kind, value) for value in values] for kind, values in labels.items()}

    def _unknown(self, kind):
        if not self.kinds:
            return InputError(f"This generator was trained without labels. Received: {kind}.")
        return unknown_name("label", kind, self.kinds)


def _counted(values):
    return ", ".join(f"{kind} ({len(each)} value{'' if len(each) == 1 else 's'})" for kind, each in values.items())


@tf.function(reduce_retracing=True)
def _combinations(columns, counts, wanted, places):
    """Return the numbers `(count,)` of combinations, drawn by frequency among those that fit the wanted values best.

    It works on one sound at a time: with 300,000 different combinations, all sounds at once would not fit in memory.

    Args:
        columns: int32 `(kinds, combinations)`.
        counts: int32 `(combinations,)`.
        wanted: int32 `(count, kinds)`; `ANY` fits every value.
        places: Random numbers in [0, 1), float32 `(count,)`.
    """

    def chosen(one):
        values, place = one
        fits = (columns == values[:, tf.newaxis]) | (values == ANY)[:, tf.newaxis]
        fitting = tf.reduce_sum(tf.cast(fits, tf.int32), axis=0)  # number of kinds that fit
        nearest = fitting == tf.reduce_max(fitting)  # all kinds fit, unless the data lacks the wanted combination
        upto = tf.cumsum(tf.cast(tf.where(nearest, counts, 0), tf.float32))
        return tf.searchsorted(upto, [place * upto[-1]], side="right")[0]

    return tf.map_fn(chosen, (wanted, places), fn_output_signature=tf.int32)


@tf.function(reduce_retracing=True)
def _places(count, seed, first):
    """Return uniform numbers in [0, 1), `(count,)`, starting with number `first`. Number i depends only on the seed and i."""
    return tf.map_fn(
        lambda index: tf.random.stateless_uniform([], folded_seed(seed, index, DRAWN)),
        tf.cast(first, tf.int64) + tf.range(tf.cast(count, tf.int64)),
        fn_output_signature=tf.float32,
    )


def renumbered(sounds, names):
    """Return sounds with their labels renumbered to another list of names. Names that are not in it become `UNKNOWN`.

    Two data sets number their names, such as instruments, differently: number 3 of one is not number 3 of the other.

    Args:
        sounds: `Sounds` or `ShardedSounds`.
        names: `{kind: names}`, as in `Labels`. A kind without names on either side keeps its numbers.
    """
    other = {kind: each for kind, each in names.items() if list(sounds.label_names.get(kind, each)) != list(each)}
    if not other:
        return sounds
    labels = dict(sounds.labels)
    for kind, each in other.items():
        numbers = {name: number for number, name in enumerate(each)}
        theirs = np.array([*(numbers.get(name, UNKNOWN) for name in sounds.label_names[kind]), UNKNOWN], np.int32)
        labels[kind] = theirs[labels[kind]]  # index -1, UNKNOWN, takes the last entry
    return sounds.relabelled(labels, sounds.label_names | other)
