"""Data sets: sources (`notes`, `nsynth`, `folder`), storage (`shards`) and the input pipeline of training (`pipeline`)."""

from kgan.data.load import load_folder, load_sounds
from kgan.data.notes import load_notes
from kgan.data.pipeline import training_dataset
from kgan.data.sounds import Sounds

__all__ = ["Sounds", "load_folder", "load_notes", "load_sounds", "training_dataset"]
