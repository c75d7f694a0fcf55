"""Layers that encode audio for a network and decode it again."""

from kgan.representations.harmonic import Harmonic
from kgan.representations.logspec import LogSpec
from kgan.representations.melif import MelIF
from kgan.representations.representation import Representation
from kgan.representations.spec import Spec
from kgan.representations.spectrogram import Spectrogram
from kgan.representations.wave import Wave

__all__ = ["Harmonic", "LogSpec", "MelIF", "Representation", "Spec", "Spectrogram", "Wave"]
