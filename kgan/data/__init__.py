"""Where sounds come from (`notes`, `nsynth`, `folder`), how they are kept (`shards`), how they reach a step (`pipeline`)."""

from kgan.data.load import load_folder, load_sounds
from kgan.data.notes import load_notes
from kgan.data.pipeline import training_dataset
from kgan.data.sounds import Sounds

__all__ = ["Sounds", "load_folder", "load_notes", "load_sounds", "training_dataset"]
