"""Generators, critics and their layers. They do not depend on files or configuration."""

from kgan.networks.phase_shuffle import PhaseShuffle
from kgan.networks.spectrogram import spectrogram_critic, spectrogram_generator
from kgan.networks.strided import FoldedConv1DTranspose, StridedConv1D, StridedConv1DTranspose
from kgan.networks.vector import vector_critic, vector_generator
from kgan.networks.wave import wave_critic, wave_generator, wave_strides

__all__ = [
    "FoldedConv1DTranspose",
    "PhaseShuffle",
    "StridedConv1D",
    "StridedConv1DTranspose",
    "spectrogram_critic",
    "spectrogram_generator",
    "vector_critic",
    "vector_generator",
    "wave_critic",
    "wave_generator",
    "wave_strides",
]
