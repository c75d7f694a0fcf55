"""GANs that synthesise sounds, on Keras 3 and TensorFlow.

The public API is the names listed here and the public names of the listed packages. Everything else may change.
"""

import importlib
import pkgutil

from kgan.quiet import use_onednn

use_onednn()

__version__ = "0.1.0"

# Imported on first use, so that `import kgan` alone does not import TensorFlow.
_HOMES = {
    "Client": "kgan.serving.client",
    "DCGAN": "kgan.gans",
    "GANSynthesizer": "kgan.synthesizer",
    "Labels": "kgan.labels",
    "R1GAN": "kgan.gans",
    "SoundMaker": "kgan.synthesizer",
    "Synthesizer": "kgan.synthesizer",
    "WGAN": "kgan.gans",
    "WGANGP": "kgan.gans",
    "export_run": "kgan.training.run_folder",
    "interpolate": "kgan.synthesizer",
    "load": "kgan.training.run_folder",
    "load_folder": "kgan.data",
    "load_notes": "kgan.data",
    "load_sounds": "kgan.data",
    "perform": "kgan.midi",
    "train": "kgan.training.start",
    "training_dataset": "kgan.data",
}
_PACKAGES = ("callbacks", "data", "evaluation", "gans", "networks", "representations", "serving")

__all__ = [*_HOMES, *_PACKAGES, "__version__"]


def __getattr__(name):
    if name in _HOMES:
        return pkgutil.resolve_name(f"{_HOMES[name]}:{name}")
    if name in _PACKAGES:
        return importlib.import_module(f"kgan.{name}")
    raise AttributeError(f"module 'kgan' has no attribute {name!r}")


def __dir__():
    return __all__
