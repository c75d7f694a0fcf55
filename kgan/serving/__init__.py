"""What leaves the workshop: SavedModels, other formats, and the ways back from them to sound."""

from kgan.serving.client import Client

__all__ = ["Client"]
