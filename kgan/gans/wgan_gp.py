from typing import Any

import keras
import tensorflow as tf

from kgan.gans.adversarial import AdversarialModel
from kgan.gans.checks import check_at_least
from kgan.gans.losses import gradient_penalty, wasserstein_critic_loss, wasserstein_generator_loss
from kgan.gans.replicas import own_rows


@keras.saving.register_keras_serializable(package="kgan")
class WGANGP(AdversarialModel):
    """The Wasserstein GAN with a gradient penalty, which pulls the critic's gradient norm between real and fake to 1.

    Args:
        generator: `keras.Model` from latents to examples, see `AdversarialModel`.
        critic: `keras.Model` from examples to scores, see `AdversarialModel`.
        n_critic: Critic steps per iteration.
        gradient_penalty_weight: Lambda. The metric `gradient_penalty` is the penalty without this weight.
        **kwargs: Keyword arguments of `AdversarialModel`.

    Reference: Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", algorithm 1.
        https://arxiv.org/abs/1704.00028

    Raises:
        ValueError: `gradient_penalty_weight` is below 0, or `AdversarialModel` raises.

    Example:
        >>> from kgan.networks import wave_critic, wave_generator
        >>> gan = WGANGP(wave_generator(dim=16), wave_critic(dim=16), ema_decay=0.999)
        >>> gan.compile(keras.optimizers.Adam(2e-4, 0.5, 0.9), keras.optimizers.Adam(2e-4, 0.5, 0.9))
    """

    term_names = (*AdversarialModel.term_names, "gradient_penalty")

    critic_loss = staticmethod(wasserstein_critic_loss)
    generator_loss = staticmethod(wasserstein_generator_loss)

    def __init__(
        self,
        generator: keras.Model,
        critic: keras.Model,
        *,
        n_critic: int = 5,
        gradient_penalty_weight: float = 10.0,
        **kwargs: Any,
    ):
        super().__init__(generator, critic, n_critic=n_critic, **kwargs)
        check_at_least(0, gradient_penalty_weight=gradient_penalty_weight)
        self.gradient_penalty_weight = gradient_penalty_weight

    def compute_critic_loss(self, real, fake, labels, seed):
        terms = super().compute_critic_loss(real, fake, labels, seed)
        mix = self._mix(tf.shape(real)[0], seed)
        penalty = gradient_penalty(lambda examples: self.judge(examples, labels)[0], real, fake, mix)
        return terms | {"gradient_penalty": penalty, "total": terms["total"] + self.gradient_penalty_weight * penalty}

    def _mix(self, count, seed):
        """Return a uniform coefficient for each example, `(count,)`: where between real and fake its penalty is computed."""
        seed = tf.random.experimental.stateless_fold_in(seed, 1)
        return own_rows(lambda rows: tf.random.stateless_uniform([rows], seed), count)

    def get_config(self):
        return {**super().get_config(), "gradient_penalty_weight": self.gradient_penalty_weight}
