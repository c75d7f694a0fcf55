import keras
import tensorflow as tf

from kgan.gans.adversarial import AdversarialModel
from kgan.gans.losses import gradient_penalty, wasserstein_critic_loss, wasserstein_generator_loss
from kgan.noise import own_rows


@keras.saving.register_keras_serializable(package="kgan")
class WGANGP(AdversarialModel):
    """The Wasserstein GAN with gradient penalty: the critic is asked for slope 1 between real and fake.

    Args: those of `AdversarialModel`, five critic steps unless told otherwise, and
        gradient_penalty_weight: lambda; the metric `gradient_penalty` is the penalty before this weight.

    Reference: Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", algorithm 1.
        https://arxiv.org/abs/1704.00028

    Example:
        >>> gan = WGANGP(wave_generator(dim=16), wave_critic(dim=16), ema_decay=0.999)
        >>> gan.compile(keras.optimizers.Adam(2e-4, 0.5, 0.9), keras.optimizers.Adam(2e-4, 0.5, 0.9))
    """

    term_names = (*AdversarialModel.term_names, "gradient_penalty")

    def __init__(self, generator, critic, n_critic=5, gradient_penalty_weight=10.0, **kwargs):
        super().__init__(generator, critic, n_critic, **kwargs)
        self.gradient_penalty_weight = gradient_penalty_weight

    def critic_loss(self, real_scores, fake_scores):
        return wasserstein_critic_loss(real_scores, fake_scores)

    def generator_loss(self, fake_scores):
        return wasserstein_generator_loss(fake_scores)

    def critic_penalties(self, scores_of, real, fake, seed):
        mix_seed = tf.random.experimental.stateless_fold_in(seed, 1)
        mix = own_rows(lambda count: tf.random.stateless_uniform([count], mix_seed), tf.shape(real)[0])
        penalty = gradient_penalty(scores_of, real, fake, mix)
        return {"gradient_penalty": (self.gradient_penalty_weight, penalty)}

    def get_config(self):
        return {**super().get_config(), "gradient_penalty_weight": self.gradient_penalty_weight}
