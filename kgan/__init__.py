"""GANs that synthesise sounds, on Keras 3 and TensorFlow."""

import importlib

from kgan.quiet import use_onednn

use_onednn()

__version__ = "0.1.0"

# Imported when first used: `import kgan` alone does not import TensorFlow.
_HOMES = {
    "DCGAN": "kgan.gans",
    "R1GAN": "kgan.gans",
    "WGAN": "kgan.gans",
    "WGANGP": "kgan.gans",
    "Synthesizer": "kgan.synthesizer",
    "load_folder": "kgan.data.load",
    "load_sounds": "kgan.data.load",
    "load_notes": "kgan.data.notes",
    "training_dataset": "kgan.data.pipeline",
}
_PACKAGES = ("callbacks", "evaluation", "networks", "representations", "serving")

__all__ = [*_HOMES, *_PACKAGES, "__version__"]


def __getattr__(name):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _PACKAGES:
        return importlib.import_module(f"kgan.{name}")
    raise AttributeError(f"module 'kgan' has no attribute {name!r}")


def __dir__():
    return __all__
