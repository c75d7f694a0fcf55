"""Adversarial losses: pure functions of float32 scores `(batch, 1)`, each returning a scalar."""

import tensorflow as tf


def wasserstein_critic_loss(real_scores, fake_scores):
    """Return mean D(fake) - mean D(real): minus the critic's estimate of the Wasserstein distance.

    Reference: Arjovsky et al. 2017, "Wasserstein GAN", algorithm 1. https://arxiv.org/abs/1701.07875
    """
    return tf.reduce_mean(fake_scores) - tf.reduce_mean(real_scores)


def wasserstein_generator_loss(fake_scores):
    """Return -mean D(fake). Reference: as `wasserstein_critic_loss`."""
    return -tf.reduce_mean(fake_scores)


def logistic_critic_loss(real_scores, fake_scores):
    """Return -E log s(D(real)) - E log(1 - s(D(fake))): cross-entropies with logits; real is class 1, fake is class 0.

    Reference: Goodfellow et al. 2014, "Generative Adversarial Nets", equation 1. https://arxiv.org/abs/1406.2661
    """
    return tf.reduce_mean(tf.math.softplus(-real_scores)) + tf.reduce_mean(tf.math.softplus(fake_scores))


def logistic_generator_loss(fake_scores):
    """Return -E log s(D(fake)), the non-saturating loss. Reference: as `logistic_critic_loss`, section 3."""
    return tf.reduce_mean(tf.math.softplus(-fake_scores))


def hinge_critic_loss(real_scores, fake_scores):
    """Return E max(0, 1 - D(real)) + E max(0, 1 + D(fake)). Scores beyond the margin have no gradient.

    Reference: Lim and Ye 2017, "Geometric GAN", section 3. https://arxiv.org/abs/1705.02894
    """
    return tf.reduce_mean(tf.nn.relu(1.0 - real_scores)) + tf.reduce_mean(tf.nn.relu(1.0 + fake_scores))


def least_squares_critic_loss(real_scores, fake_scores):
    """Return E (D(real) - 1)^2 + E D(fake)^2.

    Reference: Mao et al. 2017, "Least Squares Generative Adversarial Networks", equation 9, which halves it as `DCGAN` does.
        https://arxiv.org/abs/1611.04076
    """
    return tf.reduce_mean(tf.square(real_scores - 1.0)) + tf.reduce_mean(tf.square(fake_scores))


def least_squares_generator_loss(fake_scores):
    """Return E (D(fake) - 1)^2 / 2. Reference: as `least_squares_critic_loss`, with the paper's factor of a half."""
    return 0.5 * tf.reduce_mean(tf.square(fake_scores - 1.0))


LOSSES = {  # for critics that classify real and fake: the critic's loss and the generator's
    "logistic": (logistic_critic_loss, logistic_generator_loss),
    "hinge": (hinge_critic_loss, wasserstein_generator_loss),
    "least_squares": (least_squares_critic_loss, least_squares_generator_loss),
}


def r1_penalty(critic, real):
    """Return E[||grad of D at x||^2] for real x.

    Args:
        critic: Function from examples to scores.
        real: Examples, float32 `(batch, ...)`.

    Reference: Mescheder et al. 2018, "Which Training Methods for GANs do actually Converge?", equation 9.
        https://arxiv.org/abs/1801.04406
    """
    with tf.GradientTape() as tape:
        tape.watch(real)
        scores = critic(real)
    gradients = tape.gradient(scores, real)
    return tf.reduce_mean(tf.reduce_sum(tf.square(gradients), axis=range(1, real.shape.rank)))


def gradient_penalty(critic, real, fake, mix):
    """Return E[(||grad of D at x|| - 1)^2] for x = real + mix (fake - real).

    Args:
        critic: Function from examples to scores.
        real, fake: Examples, float32 `(batch, ...)`.
        mix: Coefficients in [0, 1], `(batch,)`: one per example, uniform in the paper.

    Reference: Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", section 4.
        https://arxiv.org/abs/1704.00028
    """
    mix = tf.reshape(mix, [-1] + [1] * (real.shape.rank - 1))
    points = real + mix * (fake - real)
    with tf.GradientTape() as tape:
        tape.watch(points)
        scores = critic(points)
    gradients = tape.gradient(scores, points)
    # The gradient of the square root is infinite at zero: without 1e-12, a flat critic would turn all weights into NaN.
    norms = tf.sqrt(tf.reduce_sum(tf.square(gradients), axis=range(1, real.shape.rank)) + 1e-12)
    return tf.reduce_mean(tf.square(norms - 1.0))
