"""`keras.Model` subclasses whose `train_step` is one iteration of a GAN."""

import kgan.networks  # noqa: F401  # registers the layers for `keras.models.load_model`
from kgan.gans.adversarial import AdversarialModel
from kgan.gans.dcgan import DCGAN
from kgan.gans.r1 import R1GAN
from kgan.gans.wgan import WGAN, WeightClip
from kgan.gans.wgan_gp import WGANGP

__all__ = ["DCGAN", "R1GAN", "WGAN", "WGANGP", "AdversarialModel", "WeightClip"]
