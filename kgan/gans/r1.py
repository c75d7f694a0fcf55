from typing import Any, Literal

import keras
import tensorflow as tf

from kgan.errors import check_choice
from kgan.gans.adversarial import AdversarialModel
from kgan.gans.checks import check_at_least
from kgan.gans.losses import LOSSES, r1_penalty


@keras.saving.register_keras_serializable(package="kgan")
class R1GAN(AdversarialModel):
    """A GAN whose critic classifies real and fake, with a lazily applied R1 gradient penalty at real examples.

    Args:
        generator: `keras.Model` from latents to examples, see `AdversarialModel`.
        critic: `keras.Model` from examples to scores, see `AdversarialModel`.
        loss: `"logistic"`, `"hinge"` or `"least_squares"`. The critic's loss is the sum of two expectations, as in these
            papers.
        r1_gamma: Weight of the penalty; r1_gamma / 2 multiplies the mean squared gradient norm.
        r1_interval: The penalty is applied every `r1_interval` iterations and multiplied by `r1_interval`. The metric
            `r1_penalty` contains this factor, so its mean over an interval is the mean squared gradient norm.
        **kwargs: Keyword arguments of `AdversarialModel`.

    Reference: Mescheder et al. 2018, "Which Training Methods for GANs do actually Converge?", equation 9.
        https://arxiv.org/abs/1801.04406
        Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 2.2: lazy regularisation.
        https://arxiv.org/abs/1912.04958

    Raises:
        ValueError: `loss` is none of these, `r1_gamma` is below 0, `r1_interval` is below 1, or `AdversarialModel` raises.

    Example:
        >>> from kgan.networks import wave_critic, wave_generator
        >>> gan = R1GAN(wave_generator(dim=16), wave_critic(dim=16), ema_decay=0.999)
        >>> gan.compile(keras.optimizers.Adam(4e-4, 0.0, 0.99), keras.optimizers.Adam(4e-4, 0.0, 0.99))
    """

    term_names = (*AdversarialModel.term_names, "r1_penalty")

    def __init__(
        self,
        generator: keras.Model,
        critic: keras.Model,
        *,
        loss: Literal["logistic", "hinge", "least_squares"] = "logistic",
        r1_gamma: float = 1.0,
        r1_interval: int = 16,
        **kwargs: Any,
    ):
        super().__init__(generator, critic, **kwargs)
        check_choice("loss", loss, LOSSES)
        check_at_least(0, r1_gamma=r1_gamma)
        check_at_least(1, r1_interval=r1_interval)
        self.loss = loss  # Keras stores the `loss` of `compile` here, but this `compile` takes none
        self.r1_gamma = r1_gamma
        self.r1_interval = r1_interval

    def critic_loss(self, real_scores, fake_scores):
        return LOSSES[self.loss][0](real_scores, fake_scores)

    def generator_loss(self, fake_scores):
        return LOSSES[self.loss][1](fake_scores)

    def compute_critic_loss(self, real, fake, labels, seed):
        terms = super().compute_critic_loss(real, fake, labels, seed)
        penalty = tf.cond(
            self.step % self.r1_interval == 0,
            lambda: self.r1_interval * r1_penalty(lambda examples: self._penalised_score(examples, labels), real),
            lambda: 0.0,
        )
        return terms | {"r1_penalty": penalty, "total": terms["total"] + self.r1_gamma / 2.0 * penalty}

    def _penalised_score(self, examples, labels):
        """Return `(batch, 1)`: the score plus, with an auxiliary classifier, the sum of the logits of the labels.

        With few training sounds, the classifier soon becomes certain about all of them. Penalising its slope as well keeps
        its gradients useful to the generator.
        """
        score, logits = self.judge(examples, labels)
        if self.classifies:
            score += tf.reduce_sum(logits * labels, axis=1, keepdims=True)
        return score

    def get_config(self):
        return {**super().get_config(), "loss": self.loss, "r1_gamma": self.r1_gamma, "r1_interval": self.r1_interval}
