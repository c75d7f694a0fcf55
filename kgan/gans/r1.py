import keras
import tensorflow as tf

from kgan.gans.adversarial import AdversarialModel
from kgan.gans.dcgan import DCGAN
from kgan.gans.losses import r1_penalty


@keras.saving.register_keras_serializable(package="kgan")
class R1GAN(DCGAN):
    """A `DCGAN` whose critic is asked to be flat at real examples, now and then.

    Args: those of `DCGAN`, normal latents unless told otherwise, and
        r1_gamma: weight of the penalty; half of it multiplies the mean squared slope.
        r1_interval: the penalty is taken in every so many iterations, as many times as strong. The metric `r1_penalty` is
            the mean squared slope, likewise: right on average over an interval.

    Reference: Mescheder et al. 2018, "Which Training Methods for GANs do actually Converge?", equation 9.
        https://arxiv.org/abs/1801.04406
        Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 2.2: lazy regularisation.
        https://arxiv.org/abs/1912.04958

    Raises:
        ValueError: `r1_interval` is below 1.

    Example:
        >>> gan = R1GAN(wave_generator(dim=16), wave_critic(dim=16), ema_decay=0.999)
        >>> gan.compile(keras.optimizers.Adam(4e-4, 0.0, 0.99), keras.optimizers.Adam(4e-4, 0.0, 0.99))
    """

    term_names = (*AdversarialModel.term_names, "r1_penalty")

    def __init__(self, generator, critic, n_critic=1, latent_distribution="normal", r1_gamma=1.0, r1_interval=16, **kwargs):
        super().__init__(generator, critic, n_critic, latent_distribution, **kwargs)
        if r1_interval < 1:
            raise ValueError(f"`r1_interval` must be at least 1. Received: r1_interval={r1_interval}")
        self.r1_gamma = r1_gamma
        self.r1_interval = r1_interval

    def critic_loss(self, real_scores, fake_scores):
        return 2.0 * super().critic_loss(real_scores, fake_scores)  # a sum of two expectations, in these papers

    def critic_penalties(self, scores_of, real, fake, seed):
        penalty = tf.cond(
            self.step % self.r1_interval == 0,
            lambda: r1_penalty(scores_of, real),
            lambda: 0.0,
        )
        return {"r1_penalty": (self.r1_gamma / 2.0, self.r1_interval * penalty)}

    def penalised_score(self, examples, labels):
        """Return `(batch, 1)`: the score and, of an auxiliary classifier, the sum of the logits of the labels.

        A classifier of few sounds is soon sure of all of them. Held flat around them as the score is, it goes on telling
        the generator which way to go.
        """
        score, logits = self._judge(examples, labels)
        if self.conditioning == "auxiliary":
            score += tf.reduce_sum(logits * labels, axis=1, keepdims=True)
        return score

    def get_config(self):
        return {**super().get_config(), "r1_gamma": self.r1_gamma, "r1_interval": self.r1_interval}
