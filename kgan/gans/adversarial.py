"""The base class of all GANs: one training iteration, and serialization."""

from typing import Any, Literal

import keras
import tensorflow as tf

from kgan.errors import check_choice
from kgan.gans.checks import check_at_least, check_networks, checked_element
from kgan.gans.replicas import own_rows, reported, share_of, summed, update
from kgan.gans.two_networks import TwoNetworks
from kgan.labels import Labels
from kgan.noise import DISTRIBUTIONS, folded_seed, latent_noise

CONDITIONINGS = ("auxiliary", "projection")
LABEL_TERMS = ("critic_label_loss", "generator_label_loss")
CANDIDATES = 4  # fakes per real example; the reconstruction loss uses the nearest one


class AdversarialModel(TwoNetworks):
    """A generator and a critic trained against each other; base of `DCGAN`, `WGAN`, `WGANGP` and `R1GAN`.

    One `train_step` is one whole iteration: `n_critic` critic steps, each on different real examples, then one generator
    step. The random numbers are a pure function of `seed` and `step`. A model that is saved, loaded and trained further
    therefore gets the same weights as one that was never interrupted.

    With labels, the GAN is conditional. Each fake has the labels of the real example that it is compared with.
    `conditioning` decides what the critic's label output `(batch, labels.width)` means:
    `"auxiliary"`: logits of a classifier. It learns from real examples, and the generator learns to satisfy it.
    `"projection"`: one score for each label. The scores of an example's own labels are added to its score.

    With a `reconstruction_weight`, the generator also learns from each real example directly: it makes four fakes with the
    example's labels, and the squared distance from the nearest fake to the example is minimised. If several real examples
    have the same labels, different fakes match different examples, so the latents still matter.

    A subclass defines its losses on scores (`critic_loss` and `generator_loss`) or on examples (`compute_critic_loss` and
    `compute_generator_loss`), and lists the reported terms in `term_names`. The losses of layer regularizers are
    minimised too, but not reported.

    Args:
        generator: `keras.Model` from latents `(batch, latent_dim)` to examples. With labels it has two inputs: latents and
            one-hot labels `(batch, labels.width)`.
        critic: `keras.Model` from examples to a dictionary of float32 tensors: `score` `(batch, 1)` and, with labels,
            `labels` `(batch, labels.width)`. Without labels it may return the score tensor alone. Real and fake examples
            pass through it in one batch, so it must not contain batch normalisation.
        n_critic: Critic steps per iteration.
        latent_distribution: `"normal"`, N(0, 1), or `"uniform"`, U(-1, 1).
        ema_decay: Decay of `ema_generator`, a running average of the generator's weights; None keeps none. The average
            warms up: at step t the decay is at most (1 + t) / (10 + t).
        seed: Seed of the random numbers, an integer.
        labels: `Labels`, or None for an unconditional GAN.
        conditioning: `"auxiliary"` or `"projection"`.
        auxiliary_weight: Weight of the classifier's cross-entropy in the losses of both networks.
        reconstruction_weight: Weight, in the generator's loss, of the mean squared distance from a real example to the
            nearest of several fakes; 0 for none.
        **kwargs: Keyword arguments of `keras.Model`, such as `name`.

    Attributes:
        step: Number of iterations done, a weight.
        steps_done: The same as an integer.
        best_generator: `ema_generator` if there is one, else `generator`. Use this one to generate.

    Input of `fit`: a dataset whose elements hold the real examples of one iteration, float32 `(n_critic * batch, ...)`.
    An element is a tensor, or a dictionary with the key `x` and the labels, each int32 `(n_critic * batch,)`.
    Calling the model runs `best_generator`: it takes the generator's inputs and returns examples.

    Raises:
        ValueError: An argument is out of its range, the networks do not fit each other or the labels, the critic mixes
            examples, or the size of an element is not a multiple of `n_critic`, a label is missing or the examples have
            another shape.

    Reference:
        Odena et al. 2017, "Conditional Image Synthesis with Auxiliary Classifier GANs". https://arxiv.org/abs/1610.09585
        Miyato and Koyama 2018, "cGANs with Projection Discriminator". https://arxiv.org/abs/1802.05637
        Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks": a distance beside the
        adversarial loss. https://arxiv.org/abs/1611.07004
        Gupta et al. 2018, "Social GAN", section 3.3: the distance of the nearest sample. https://arxiv.org/abs/1803.10892
    """

    term_names = ("critic_loss", "generator_loss", "score_gap", "critic_gradient_norm", "generator_gradient_norm")

    def __init__(
        self,
        generator: keras.Model,
        critic: keras.Model,
        *,
        n_critic: int = 1,
        latent_distribution: Literal["normal", "uniform"] = "normal",
        ema_decay: float | None = None,
        seed: int = 0,
        labels: Labels | None = None,
        conditioning: Literal["auxiliary", "projection"] = "auxiliary",
        auxiliary_weight: float = 1.0,
        reconstruction_weight: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        labels = Labels() if labels is None else labels
        check_at_least(1, n_critic=n_critic)
        check_at_least(0, auxiliary_weight=auxiliary_weight, reconstruction_weight=reconstruction_weight)
        check_choice("latent_distribution", latent_distribution, DISTRIBUTIONS)
        check_choice("conditioning", conditioning, CONDITIONINGS)
        if ema_decay is not None and not 0.0 <= ema_decay < 1.0:
            raise ValueError(f"`ema_decay` must be None or in [0, 1). Received: ema_decay={ema_decay}")
        check_networks(generator, critic, labels)
        self.generator = generator
        self.critic = critic
        self.n_critic = n_critic
        self.latent_distribution = latent_distribution
        self.ema_decay = ema_decay
        self.seed = seed
        self.labels = labels
        self.conditioning = conditioning
        self.auxiliary_weight = auxiliary_weight
        self.reconstruction_weight = reconstruction_weight
        self.latent_dim = generator.inputs[0].shape[1]
        self.classifies = labels.width > 0 and conditioning == "auxiliary"
        self.ema_generator = None
        if ema_decay is not None:
            self.ema_generator = keras.models.clone_model(generator)
            self.ema_generator.set_weights(generator.get_weights())
            self.ema_generator.trainable = False
        counter = {"dtype": "int64", "initializer": "zeros", "trainable": False, "aggregation": "only_first_replica"}
        self.step = self.add_weight(name="step", shape=(), **counter)
        names = [*self.term_names]
        names += LABEL_TERMS if self.classifies else ()
        names += ["reconstruction_loss"] if reconstruction_weight else []
        self._terms = {name: keras.metrics.Mean(name=name) for name in names}
        self.built = True  # both networks are built; without this Keras does not save their weights

    def compile(
        self,
        generator_optimizer: keras.Optimizer | str | dict,
        critic_optimizer: keras.Optimizer | str | dict,
        **kwargs: Any,
    ) -> None:
        """Set both optimizers.

        With the policy `mixed_float16`, each is wrapped in a `LossScaleOptimizer`, because small gradients would vanish.

        Args:
            generator_optimizer: `keras.Optimizer`, name or configuration.
            critic_optimizer: The same; the two must not be the same object.
            **kwargs: Keyword arguments of `TwoNetworks.compile`: `jit_compile`, `run_eagerly` and `steps_per_execution`.

        Raises:
            ValueError: Both optimizers are the same object, or there is another argument, such as `loss` or `metrics`.
        """
        super().compile(generator_optimizer, critic_optimizer, **kwargs)
        # Traced once, not once for each critic step: training starts 3 s earlier.
        self._traced = tf.function(self._critic_gradients, autograph=False)

    def train_step(self, data):
        real, labels = self._split(data)
        self._critic_steps(real, labels)
        self.generator_step(real[-1], labels[-1], folded_seed(self.seed, self.step, self.n_critic))
        self._update_average()
        self.step.assign_add(1)
        return reported(self.get_metrics_result(), self.distribute_strategy)

    def critic_step(self, real, labels, seed):
        """Take a critic step on real examples and the same number of fakes with the same one-hot labels."""
        gradients, terms = (self._critic_gradients if tf.executing_eagerly() else self._traced)(real, labels, seed)
        norm = _descend(gradients, self.critic_optimizer, self.critic)
        self._record(terms | {"critic_gradient_norm": norm})

    def generator_step(self, real, labels, seed):
        """Take a generator step on fakes with the one-hot labels of the real examples, one fake for each."""
        if self.reconstruction_weight:
            latents = self._latents_of_nearest(real, labels, seed)
        else:
            latents = self.latents(tf.shape(labels)[0], seed)
        with tf.GradientTape() as tape:
            fake = self._generated(latents, labels)
            terms = self.compute_generator_loss(fake, labels)
            if self.reconstruction_weight:
                distance = tf.reduce_mean(tf.square(fake - real))
                terms["total"] += self.reconstruction_weight * distance
                terms["reconstruction_loss"] = distance
            loss = _scaled(terms["total"], self.generator_optimizer)
        gradients = tape.gradient(loss, self.generator.trainable_variables)
        norm = _descend(gradients, self.generator_optimizer, self.generator)
        self._record(terms | {"generator_gradient_norm": norm})

    def compute_critic_loss(self, real, fake, labels, seed):
        """Return the terms of the critic's loss as scalars by name: `total`, which is minimised, and its parts.

        Args:
            real, fake: Examples `(batch, ...)`.
            labels: One-hot labels of both, `(batch, labels.width)`.
            seed: Seed of the random numbers that a penalty needs, int32 `(2,)`.
        """
        # One call is faster than two and gives the same scores, because the critic does not mix examples.
        scores, logits = self.judge(tf.concat([real, fake], axis=0), tf.concat([labels, labels], axis=0))
        regularizers = _regularizers_of(self.critic)
        real_scores, fake_scores = tf.split(scores, 2)
        loss = self.critic_loss(real_scores, fake_scores)
        gap = tf.reduce_mean(real_scores) - tf.reduce_mean(fake_scores)
        terms = {"total": tf.add_n([loss, *regularizers]), "critic_loss": loss, "score_gap": gap}
        if self.classifies:
            terms["critic_label_loss"] = self.labels.cross_entropy(tf.split(logits, 2)[0], labels)
            terms["total"] += self.auxiliary_weight * terms["critic_label_loss"]
        return terms

    def compute_generator_loss(self, fake, labels):
        """Return the terms of the generator's loss, see `compute_critic_loss`."""
        scores, logits = self.judge(fake, labels)
        loss = self.generator_loss(scores)
        terms = {"total": tf.add_n([loss, *_regularizers_of(self.generator)]), "generator_loss": loss}
        if self.classifies:
            terms["generator_label_loss"] = self.labels.cross_entropy(logits, labels)
            terms["total"] += self.auxiliary_weight * terms["generator_label_loss"]
        return terms

    def critic_loss(self, real_scores, fake_scores):
        """Return the critic's loss for scores `(batch, 1)`, without penalties."""
        raise NotImplementedError

    def generator_loss(self, fake_scores):
        """Return the generator's loss for scores `(batch, 1)`."""
        raise NotImplementedError

    def judge(self, examples, labels):
        """Return the scores `(batch, 1)` of examples given their labels, and the critic's label output or None."""
        outputs = self.critic(examples, training=True)
        if not isinstance(outputs, dict):
            return outputs, None
        scores, logits = outputs["score"], outputs.get("labels")
        if self.labels.width and self.conditioning == "projection":
            scores += tf.reduce_sum(logits * labels, axis=1, keepdims=True)
        return scores, logits

    def fake(self, labels, seed):
        """Return one fake for each row of one-hot labels `(batch, labels.width)`; the width may be 0."""
        return self._generated(self.latents(tf.shape(labels)[0], seed), labels)

    def _generated(self, latents, labels):
        return self.generator([latents, labels] if self.labels.width else latents, training=True)

    def _latents_of_nearest(self, real, labels, seed):
        """Return latents `(batch, latent_dim)`: for each real example, the candidate whose fake is nearest to it."""
        count = tf.shape(labels)[0]
        latents = self.latents(CANDIDATES * count, seed)
        fake = self._generated(latents, tf.repeat(labels, CANDIDATES, axis=0))
        difference = tf.reshape(fake - tf.repeat(real, CANDIDATES, axis=0), (count, CANDIDATES, -1))
        nearest = tf.argmin(tf.reduce_sum(tf.square(difference), axis=2), axis=1)
        return tf.gather(tf.reshape(latents, (count, CANDIDATES, -1)), nearest, axis=1, batch_dims=1)

    def latents(self, count, seed):
        """Return random latents `(count, latent_dim)`."""
        return own_rows(lambda rows: latent_noise((rows, self.latent_dim), seed, self.latent_distribution), count)

    def train_critic(self, dataset):
        """Take only the critic steps for each element. Use it when a new critic meets a trained generator."""
        strategy, start = self.distribute_strategy, self.steps_done
        run = tf.function(lambda element: strategy.run(lambda data: self._critic_steps(*self._split(data)), (element,)))
        for element in dataset:
            run(element)
            self.step.assign_add(1)
        self.step.assign(start)
        self.reset_metrics()

    def _critic_gradients(self, real, labels, seed):
        fake = self.fake(labels, seed)
        with tf.GradientTape() as tape:
            terms = self.compute_critic_loss(real, fake, labels, seed)
            loss = _scaled(terms["total"], self.critic_optimizer)
        return tape.gradient(loss, self.critic.trainable_variables), terms

    def _split(self, data):
        """Return the examples of each critic step, and their one-hot labels."""
        data = checked_element(data, self.labels.kinds, self.n_critic, self.critic.inputs[0].shape[1:])
        one_hot = self.labels.one_hot(data) if self.labels.width else tf.zeros((tf.shape(data["x"])[0], 0))
        return tf.split(data["x"], self.n_critic), tf.split(one_hot, self.n_critic)

    def _critic_steps(self, real, labels):
        for i in range(self.n_critic):
            self.critic_step(real[i], labels[i], folded_seed(self.seed, self.step, i))

    def _update_average(self):
        if self.ema_generator is None:
            return
        done = tf.cast(self.step, tf.float32)
        decay = tf.minimum(self.ema_decay, (1.0 + done) / (10.0 + done))
        average, weights = self.ema_generator.weights, self.generator.weights
        update(average, lambda average, weight: average + (1.0 - decay) * (weight - average), weights)

    def _record(self, terms):
        for name, value in terms.items():
            if name in self._terms:
                self._terms[name].update_state(value)

    def get_config(self):
        return {
            **super().get_config(),
            "generator": keras.saving.serialize_keras_object(self.generator),
            "critic": keras.saving.serialize_keras_object(self.critic),
            "n_critic": self.n_critic,
            "latent_distribution": self.latent_distribution,
            "ema_decay": self.ema_decay,
            "seed": self.seed,
            "labels": self.labels.get_config(),
            "conditioning": self.conditioning,
            "auxiliary_weight": self.auxiliary_weight,
            "reconstruction_weight": self.reconstruction_weight,
        }

    @classmethod
    def from_config(cls, config):
        networks = {name: keras.saving.deserialize_keras_object(config[name]) for name in ("generator", "critic")}
        return cls(**{**config, **networks, "labels": Labels(**config.get("labels", {}))})


def _regularizers_of(network):
    """Return the regularization losses of a network's layers as scalars. Activity regularizers use the last call."""
    return [tf.cast(loss, tf.float32) for loss in network.losses]


def _scaled(loss, optimizer):
    """Return the loss to differentiate: this replica's share, scaled for float16."""
    return optimizer.scale_loss(share_of(loss))


def _descend(gradients, optimizer, network):
    """Take one optimizer step with scaled gradients, and return the norm of the unscaled gradients."""
    gradients = summed(gradients)
    norm = tf.linalg.global_norm(gradients) / optimizer.scale_loss(1.0)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):  # it skips a step that overflows
        norm = tf.where(tf.math.is_finite(norm), norm, 0.0)
    optimizer.apply(gradients, network.trainable_variables)
    return norm
