import keras

from kgan.gans.adversarial import AdversarialModel
from kgan.gans.losses import wasserstein_critic_loss, wasserstein_generator_loss


@keras.saving.register_keras_serializable(package="kgan")
class WeightClip(keras.constraints.Constraint):
    """Keep every weight within [-limit, limit].

    Args:
        limit: the largest absolute value, above 0.
    """

    def __init__(self, limit=0.01):
        if limit <= 0:
            raise ValueError(f"`limit` must be above 0. Received: limit={limit}")
        self.limit = limit

    def __call__(self, weights):
        return keras.ops.clip(weights, -self.limit, self.limit)

    def get_config(self):
        return {"limit": self.limit}


@keras.saving.register_keras_serializable(package="kgan")
class WGAN(AdversarialModel):
    """The Wasserstein GAN with weight clipping: the critic's weights stay in a box, which bounds its slope.

    Args: those of `AdversarialModel`, five critic steps unless told otherwise, and
        clip_value: the optimizer clips every critic weight to [-clip_value, clip_value] after each critic step.

    Reference: Arjovsky et al. 2017, "Wasserstein GAN", algorithm 1. https://arxiv.org/abs/1701.07875

    Example:
        >>> gan = WGAN(wave_generator(dim=16), wave_critic(dim=16))
        >>> gan.compile(keras.optimizers.RMSprop(5e-5), keras.optimizers.RMSprop(5e-5))
    """

    def __init__(self, generator, critic, n_critic=5, clip_value=0.01, **kwargs):
        super().__init__(generator, critic, n_critic, **kwargs)
        self.clip_value = clip_value
        for variable in critic.trainable_variables:
            variable.constraint = WeightClip(clip_value)

    def critic_loss(self, real_scores, fake_scores):
        return wasserstein_critic_loss(real_scores, fake_scores)

    def generator_loss(self, fake_scores):
        return wasserstein_generator_loss(fake_scores)

    def get_config(self):
        return {**super().get_config(), "clip_value": self.clip_value}
