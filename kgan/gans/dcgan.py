import keras

from kgan.gans.adversarial import AdversarialModel
from kgan.gans.losses import CLASSIFICATION_LOSSES


@keras.saving.register_keras_serializable(package="kgan")
class DCGAN(AdversarialModel):
    """The GAN whose critic classifies real and fake, by logistic losses unless told otherwise.

    Args: those of `AdversarialModel`, one critic step and uniform latents unless told otherwise, and
        loss: `"logistic"`, `"hinge"` or `"least_squares"`.

    Raises:
        ValueError: `loss` is none of these.

    Reference: Radford et al. 2016, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
        Networks". https://arxiv.org/abs/1511.06434

    Example:
        >>> gan = DCGAN(wave_generator(dim=16, activation="relu"), wave_critic(dim=16))
        >>> gan.compile(keras.optimizers.Adam(2e-4), keras.optimizers.Adam(2e-4))
    """

    def __init__(self, generator, critic, n_critic=1, latent_distribution="uniform", loss="logistic", **kwargs):
        super().__init__(generator, critic, n_critic, latent_distribution, **kwargs)
        if loss not in CLASSIFICATION_LOSSES:
            raise ValueError(f"`loss` must be one of {', '.join(CLASSIFICATION_LOSSES)}. Received: loss={loss!r}")
        self.loss_name = loss

    def critic_loss(self, real_scores, fake_scores):
        return CLASSIFICATION_LOSSES[self.loss_name][0](real_scores, fake_scores)

    def generator_loss(self, fake_scores):
        return CLASSIFICATION_LOSSES[self.loss_name][1](fake_scores)

    def get_config(self):
        return {**super().get_config(), "loss": self.loss_name}
