"""Model export and serving: SavedModels, other formats, and generating sounds from them."""

from kgan.serving.client import Client

__all__ = ["Client"]
