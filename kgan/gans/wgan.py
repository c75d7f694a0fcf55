from typing import Any

import keras

from kgan.gans.adversarial import AdversarialModel
from kgan.gans.losses import wasserstein_critic_loss, wasserstein_generator_loss
from kgan.gans.replicas import update


@keras.saving.register_keras_serializable(package="kgan")
class WeightClip(keras.constraints.Constraint):
    """Keep every weight within [-limit, limit].

    Args:
        limit: Largest absolute value, above 0.

    Raises:
        ValueError: `limit` is not above 0.
    """

    def __init__(self, limit: float = 0.01):
        if not limit > 0:
            raise ValueError(f"`limit` must be above 0. Received: limit={limit}")
        self.limit = limit

    def __call__(self, weights):
        return keras.ops.clip(weights, -self.limit, self.limit)

    def get_config(self):
        return {"limit": self.limit}


@keras.saving.register_keras_serializable(package="kgan")
class WGAN(AdversarialModel):
    """The Wasserstein GAN with weight clipping, which bounds the slope of the critic.

    Args:
        generator: `keras.Model` from latents to examples, see `AdversarialModel`.
        critic: `keras.Model` from examples to scores, see `AdversarialModel`.
        n_critic: Critic steps per iteration.
        clip_value: Every critic weight is clipped to [-clip_value, clip_value] after each critic step.
        **kwargs: Keyword arguments of `AdversarialModel`.

    Raises:
        ValueError: `clip_value` is not above 0, or `AdversarialModel` raises.

    Reference: Arjovsky et al. 2017, "Wasserstein GAN", algorithm 1. https://arxiv.org/abs/1701.07875

    Example:
        >>> from kgan.networks import wave_critic, wave_generator
        >>> gan = WGAN(wave_generator(dim=16), wave_critic(dim=16))
        >>> gan.compile(keras.optimizers.RMSprop(5e-5), keras.optimizers.RMSprop(5e-5))
    """

    critic_loss = staticmethod(wasserstein_critic_loss)
    generator_loss = staticmethod(wasserstein_generator_loss)

    def __init__(
        self, generator: keras.Model, critic: keras.Model, *, n_critic: int = 5, clip_value: float = 0.01, **kwargs: Any
    ):
        super().__init__(generator, critic, n_critic=n_critic, **kwargs)
        self._clip = WeightClip(clip_value)
        self.clip_value = clip_value

    def critic_step(self, real, labels, seed):
        super().critic_step(real, labels, seed)
        # Not constraints of the variables: the critic would keep those when it is used elsewhere.
        update(self.critic.trainable_variables, self._clip)

    def get_config(self):
        return {**super().get_config(), "clip_value": self.clip_value}
