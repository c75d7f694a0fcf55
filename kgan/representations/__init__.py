"""Invertible layers between audio `(batch, samples)` and what a network sees."""

from kgan.representations.wave import Wave

__all__ = ["Wave"]
