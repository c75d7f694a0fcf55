"""Layers between audio and what a network sees, each with the way back."""

from kgan.representations.harmonic import Harmonic
from kgan.representations.logspec import LogSpec
from kgan.representations.melif import MelIF
from kgan.representations.representation import Representation
from kgan.representations.spec import Spec
from kgan.representations.spectrogram import Spectrogram
from kgan.representations.wave import Wave

__all__ = ["Harmonic", "LogSpec", "MelIF", "Representation", "Spec", "Spectrogram", "Wave"]
