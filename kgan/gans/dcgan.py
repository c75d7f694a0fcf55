from typing import Any, Literal

import keras

from kgan.errors import check_choice
from kgan.gans.adversarial import AdversarialModel
from kgan.gans.losses import LOSSES


@keras.saving.register_keras_serializable(package="kgan")
class DCGAN(AdversarialModel):
    """The original GAN: the critic classifies examples as real or fake. The default loss is logistic.

    Args:
        generator: `keras.Model` from latents to examples, see `AdversarialModel`.
        critic: `keras.Model` from examples to scores, see `AdversarialModel`.
        n_critic: Critic steps per iteration.
        latent_distribution: `"uniform"`, U(-1, 1), or `"normal"`, N(0, 1).
        loss: `"logistic"`, `"hinge"` or `"least_squares"`. The critic's loss is the mean over real and fake examples
            together, as in DCGAN code: half of the sum of the two expectations.
        **kwargs: Keyword arguments of `AdversarialModel`.

    Raises:
        ValueError: `loss` is none of these, or `AdversarialModel` raises.

    Reference: Radford et al. 2016, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
        Networks". https://arxiv.org/abs/1511.06434

    Example:
        >>> from kgan.networks import wave_critic, wave_generator
        >>> gan = DCGAN(wave_generator(dim=16, activation="relu"), wave_critic(dim=16))
        >>> gan.compile(keras.optimizers.Adam(2e-4), keras.optimizers.Adam(2e-4))
    """

    def __init__(
        self,
        generator: keras.Model,
        critic: keras.Model,
        *,
        n_critic: int = 1,
        latent_distribution: Literal["normal", "uniform"] = "uniform",
        loss: Literal["logistic", "hinge", "least_squares"] = "logistic",
        **kwargs: Any,
    ):
        super().__init__(generator, critic, n_critic=n_critic, latent_distribution=latent_distribution, **kwargs)
        check_choice("loss", loss, LOSSES)
        self.loss = loss  # Keras stores the `loss` of `compile` here, but this `compile` takes none

    def critic_loss(self, real_scores, fake_scores):
        return 0.5 * LOSSES[self.loss][0](real_scores, fake_scores)

    def generator_loss(self, fake_scores):
        return LOSSES[self.loss][1](fake_scores)

    def get_config(self):
        return {**super().get_config(), "loss": self.loss}
