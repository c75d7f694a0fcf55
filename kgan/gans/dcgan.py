import keras

from kgan.gans.adversarial import AdversarialModel
from kgan.gans.losses import logistic_critic_loss, logistic_generator_loss


@keras.saving.register_keras_serializable(package="kgan")
class DCGAN(AdversarialModel):
    """The GAN of logistic losses: the critic classifies real and fake, the generator makes it say real.

    Args: those of `AdversarialModel`; one critic step and uniform latents unless told otherwise.

    Reference: Radford et al. 2016, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
        Networks". https://arxiv.org/abs/1511.06434

    Example:
        >>> gan = DCGAN(wave_generator(dim=16, activation="relu"), wave_critic(dim=16))
        >>> gan.compile(keras.optimizers.Adam(2e-4), keras.optimizers.Adam(2e-4))
    """

    def __init__(self, generator, critic, n_critic=1, latent_distribution="uniform", **kwargs):
        super().__init__(generator, critic, n_critic, latent_distribution, **kwargs)

    def critic_loss(self, real_scores, fake_scores):
        return logistic_critic_loss(real_scores, fake_scores)

    def generator_loss(self, fake_scores):
        return logistic_generator_loss(fake_scores)
