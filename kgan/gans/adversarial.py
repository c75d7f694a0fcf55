import keras
import tensorflow as tf

from kgan.labels import Labels
from kgan.noise import folded_seed, latent_noise, own_rows
from kgan.strategy import is_multiworker

CONDITIONINGS = ("auxiliary", "projection")
LABEL_TERMS = ("critic_label_loss", "generator_label_loss")


class AdversarialModel(keras.Model):
    """A generator and a critic trained against each other; base of `DCGAN`, `WGAN` and `WGANGP`.

    One `train_step` is one whole iteration: `n_critic` critic steps, each on real examples of its own, then one generator
    step. Its random numbers are a pure function of `seed` and `step`, so a model that is saved, loaded and trained on
    goes through the same weights as one that was never interrupted.

    With labels it is conditional. The generator takes one-hot labels beside the latents, `(batch, latent_dim + labels.width)`,
    and the critic gives for each label value an output more, `(batch, 1 + labels.width)`. Fakes have the labels of the real
    examples that they are compared with. What the further outputs are is `conditioning`:
    `"auxiliary"`: logits of a classifier, which learns from real examples what the generator then has to satisfy;
    `"projection"`: scores of an example as one of that label; they are added to its score.

    Args:
        generator: `keras.Model` from latents `(batch, latent_dim)` to examples.
        critic: `keras.Model` from examples to float32 scores `(batch, 1)`. Real and fake examples go through it in one batch,
            so it must not mix the two: no batch normalisation.
        n_critic: critic steps in an iteration.
        latent_distribution: `"normal"`, N(0, 1), or `"uniform"`, U(-1, 1).
        ema_decay: decay of `ema_generator`, a running average of the generator's weights; None keeps none. The average
            warms up: at step t the decay is at most (1 + t) / (10 + t).
        seed: integer, the start of the random stream.
        labels: `Labels`; None for none.
        conditioning: `"auxiliary"` or `"projection"`.
        auxiliary_weight: of the classifier's cross-entropy in the losses of both networks.

    Attributes:
        step: iterations done so far, a weight.
        steps_done: the same, an integer.
        best_generator: `ema_generator` where there is one, else `generator`: the one to listen to.

    Input of `fit`: a dataset whose elements hold the real examples of one iteration, `(n_critic * batch, ...)` float32:
    a tensor, or a dictionary with the key `x` and the labels, int32 `(n_critic * batch,)`. Output of calling the model:
    examples for what the generator takes, by `best_generator`.

    Raises:
        ValueError: an argument is out of its range, the networks do not fit the labels, or a batch does not divide by
            `n_critic` or lacks a label.

    Reference:
        Odena et al. 2017, "Conditional Image Synthesis with Auxiliary Classifier GANs". https://arxiv.org/abs/1610.09585
        Miyato and Koyama 2018, "cGANs with Projection Discriminator". https://arxiv.org/abs/1802.05637
    """

    def __init__(
        self,
        generator,
        critic,
        n_critic=1,
        latent_distribution="normal",
        ema_decay=None,
        seed=0,
        labels=None,
        conditioning="auxiliary",
        auxiliary_weight=1.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if n_critic < 1:
            raise ValueError(f"`n_critic` must be at least 1. Received: n_critic={n_critic}")
        if ema_decay is not None and not 0.0 <= ema_decay < 1.0:
            raise ValueError(f"`ema_decay` must be None or in [0, 1). Received: ema_decay={ema_decay}")
        if conditioning not in CONDITIONINGS:
            raise ValueError(f"`conditioning` must be one of {', '.join(CONDITIONINGS)}. Received: {conditioning!r}")
        labels = labels or Labels()
        if critic.output_shape[-1] != 1 + labels.width or generator.input_shape[-1] <= labels.width:
            raise ValueError(
                f"For {labels.width} label values the generator must take as many inputs beside the latents, and the critic"
                " must give as many outputs beside a score."
                f" Received: {generator.input_shape[-1]} and {critic.output_shape[-1]}"
            )
        self.generator = generator
        self.critic = critic
        self.n_critic = n_critic
        self.latent_distribution = latent_distribution
        self.ema_decay = ema_decay
        self.seed = seed
        self.labels = labels
        self.conditioning = conditioning
        self.auxiliary_weight = auxiliary_weight
        self.latent_dim = generator.input_shape[-1] - labels.width
        self.ema_generator = None
        if ema_decay is not None:
            self.ema_generator = keras.models.clone_model(generator)
            self.ema_generator.set_weights(generator.get_weights())
            self.ema_generator.trainable = False
        counter = {"dtype": "int64", "initializer": "zeros", "trainable": False, "aggregation": "only_first_replica"}
        self.step = self.add_weight(name="step", shape=(), **counter)
        self._classifies = labels.width > 0 and conditioning == "auxiliary"
        names = (*self.term_names, *(LABEL_TERMS if self._classifies else ()))
        self._terms = {name: keras.metrics.Mean(name=name) for name in names}
        self.built = True  # both networks are; without it Keras leaves their weights out of what it saves

    # What a GAN adds to this base

    term_names = ("critic_loss", "generator_loss", "score_gap", "critic_gradient_norm", "generator_gradient_norm")

    def critic_loss(self, real_scores, fake_scores):
        """Return the scalar that a critic step lowers, before any penalty."""
        raise NotImplementedError

    def generator_loss(self, fake_scores):
        """Return the scalar that the generator step lowers."""
        raise NotImplementedError

    def critic_penalties(self, scores_of, real, fake, seed):
        """Return `{name: (weight, raw penalty)}`; each penalty times its weight is added to the critic's loss.

        `scores_of` is the critic as a function of examples alone: in its labels, if it has any, it is that of the batch.
        """
        return {}

    def penalised_score(self, examples, labels):
        """Return `(batch, 1)`: what the penalties see of examples and their one-hot labels, their scores."""
        return self._judge(examples, labels)[0]

    # Keras's contract

    @property
    def best_generator(self):
        return self.ema_generator or self.generator

    @property
    def steps_done(self):
        return int(self.step.numpy())

    @property
    def metrics(self):
        return list(self._terms.values())

    def call(self, inputs, training=False):
        return self.best_generator(inputs, training=training)

    def _maybe_symbolic_build(self, *args, **kwargs):
        """Do nothing: all is built. Keras's own reduces an element over several processes, and fails at a dictionary."""

    def compile(self, generator_optimizer, critic_optimizer, jit_compile="auto", **kwargs):
        """Set both optimizers.

        For networks of the policy `mixed_float16` each is wrapped in a `LossScaleOptimizer`: small gradients would vanish.

        Args:
            generator_optimizer: `keras.Optimizer`, name or configuration.
            critic_optimizer: likewise; the two must not be the same object.
            jit_compile: whether XLA compiles the step. `"auto"` is yes on one GPU and no elsewhere: on a CPU it does not
                pay, and what replicas tell each other it does not compile.
            **kwargs: `run_eagerly` and `steps_per_execution` of `keras.Model.compile`.

        Raises:
            ValueError: both optimizers are one object.
        """
        if generator_optimizer is critic_optimizer and isinstance(generator_optimizer, keras.Optimizer):
            raise ValueError("The generator and the critic need an optimizer each. Received: the same object twice.")
        if jit_compile == "auto":
            jit_compile = bool(tf.config.list_logical_devices("GPU")) and not tf.distribute.has_strategy()
        super().compile(optimizer=None, jit_compile=jit_compile, **kwargs)
        self.generator_optimizer = _ready(generator_optimizer, self.generator)
        self.critic_optimizer = _ready(critic_optimizer, self.critic)
        # Traced once, not once for each critic step: a training starts 4 s earlier.
        self._traced_critic_gradients = tf.function(
            self._critic_gradients, autograph=False, experimental_attributes={"_noinline": True}
        )

    def get_compile_config(self):
        return {
            "generator_optimizer": keras.optimizers.serialize(self.generator_optimizer),
            "critic_optimizer": keras.optimizers.serialize(self.critic_optimizer),
        }

    def compile_from_config(self, config):
        self.compile(**{name: keras.optimizers.deserialize(value) for name, value in config.items()})

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
        }

    @classmethod
    def from_config(cls, config):
        networks = {name: keras.saving.deserialize_keras_object(config[name]) for name in ("generator", "critic")}
        return cls(**{**config, **networks, "labels": Labels(**config.get("labels", {}))})

    # One iteration

    def train_step(self, data):
        labels = self._critic_steps(data)
        self._generator_step(labels, folded_seed(self.seed, self.step, self.n_critic))
        self._update_ema()
        self.step.assign_add(1)
        logs = self.get_metrics_result()
        # Keras takes their mean over the processes of a job along an axis, which scalars have not.
        return {name: value[tf.newaxis] for name, value in logs.items()} if is_multiworker(self.distribute_strategy) else logs

    def train_critic(self, dataset):
        """Take the critic steps of an iteration alone for each element, as when a new critic meets a trained generator."""
        strategy, start = self.distribute_strategy, self.steps_done
        steps = tf.function(lambda element: strategy.run(self._critic_steps, (element,)), jit_compile=False)
        for element in dataset:
            steps(element)
            self.step.assign_add(1)
        self.step.assign(start)
        for term in self._terms.values():
            term.reset_state()

    def _critic_steps(self, data):
        """Take the critic steps of an iteration and return the labels of the last one."""
        examples, one_hot = self._taken_apart(data)
        for i, (real, labels) in enumerate(zip(self._split(examples), self._split(one_hot), strict=True)):
            self._critic_step(real, labels, folded_seed(self.seed, self.step, i))
        return labels

    def _taken_apart(self, data):
        """Return examples and their one-hot labels, `(n_critic * batch, labels.width)`."""
        data = data if isinstance(data, dict) else {"x": data}
        missing = set(self.labels.kinds) - set(data)
        if missing:
            raise ValueError(f"An element must hold {', '.join(self.labels.kinds)} beside `x`. Received: {', '.join(data)}")
        if not self.labels.kinds:
            return data["x"], tf.zeros((tf.shape(data["x"])[0], 0))
        return data["x"], self.labels.one_hot(data)

    def _split(self, examples):
        """Split the examples of an iteration into those of its critic steps."""
        count = examples.shape[0]
        if count is not None and count % self.n_critic:
            raise ValueError(
                f"An element must hold the examples of n_critic={self.n_critic} critic steps: its first axis must be a "
                f"multiple of it. Received: shape {tuple(examples.shape)}"
            )
        return tf.split(examples, self.n_critic)

    def _critic_step(self, real, labels, seed):
        compute = self._critic_gradients if tf.executing_eagerly() else self._traced_critic_gradients
        gradients, terms = compute(real, labels, seed)
        norm = _descend(gradients, self.critic_optimizer, self.critic)
        self._record(critic_gradient_norm=norm, **terms)

    def _critic_gradients(self, real, labels, seed):
        """Return the gradients of a critic step's scaled loss, and the terms to record."""
        fake = self.generator(self._generator_inputs(labels, seed), training=True)
        with tf.GradientTape() as tape:
            # One call for both is faster, and with networks that mix no examples the scores are those of two.
            scores, logits = self._judge(tf.concat([real, fake], axis=0), tf.concat([labels, labels], axis=0))
            real_scores, fake_scores = tf.split(scores, 2)
            loss = self.critic_loss(real_scores, fake_scores)
            terms = {"critic_loss": loss, "score_gap": tf.reduce_mean(real_scores) - tf.reduce_mean(fake_scores)}
            penalties = self.critic_penalties(lambda points: self.penalised_score(points, labels), real, fake, seed)
            if self._classifies:
                penalties["critic_label_loss"] = (
                    self.auxiliary_weight,
                    self.labels.cross_entropy(tf.split(logits, 2)[0], labels),
                )
            total = tf.add_n([loss, *(weight * penalty for weight, penalty in penalties.values())])
            scaled = _scaled(total, self.critic_optimizer)
        terms |= {name: penalty for name, (_, penalty) in penalties.items()}
        return tape.gradient(scaled, self.critic.trainable_variables), terms

    def _generator_step(self, labels, seed):
        with tf.GradientTape() as tape:
            fake = self.generator(self._generator_inputs(labels, seed), training=True)
            scores, logits = self._judge(fake, labels)
            loss = total = self.generator_loss(scores)
            terms = {"generator_loss": loss}
            if self._classifies:
                terms["generator_label_loss"] = self.labels.cross_entropy(logits, labels)
                total += self.auxiliary_weight * terms["generator_label_loss"]
            scaled = _scaled(total, self.generator_optimizer)
        gradients = tape.gradient(scaled, self.generator.trainable_variables)
        norm = _descend(gradients, self.generator_optimizer, self.generator)
        self._record(generator_gradient_norm=norm, **terms)

    def _judge(self, examples, labels):
        """Return scores `(batch, 1)` of examples as such of their labels, and logits `(batch, labels.width)`."""
        scores, logits = tf.split(self.critic(examples, training=True), [1, self.labels.width], axis=1)
        if self.conditioning == "projection":
            scores += tf.reduce_sum(logits * labels, axis=1, keepdims=True)
        return scores, logits

    def _generator_inputs(self, labels, seed):
        return tf.concat([self._latents(tf.shape(labels)[0], seed), labels], axis=1)

    def _latents(self, count, seed):
        return own_rows(lambda rows: latent_noise((rows, self.latent_dim), seed, self.latent_distribution), count)

    def _record(self, **terms):
        for name, value in terms.items():
            self._terms[name].update_state(value)

    def _update_ema(self):
        if self.ema_generator is None:
            return
        done = tf.cast(self.step, tf.float32)
        decay = tf.minimum(self.ema_decay, (1.0 + done) / (10.0 + done))
        pairs = [(a.value, w.value) for a, w in zip(self.ema_generator.weights, self.generator.weights, strict=True)]

        def towards(average, weight, decay):
            average.assign_add((1.0 - decay) * (weight - average))

        def update(strategy):
            for average, weight in pairs:
                strategy.extended.update(average, towards, (weight, decay), group=False)

        tf.__internal__.distribute.interim.maybe_merge_call(update, tf.distribute.get_strategy())


def _ready(optimizer, network):
    """Return the optimizer with its slots made, or loading would drop them, and with loss scaling where it is needed."""
    optimizer = keras.optimizers.get(optimizer)
    half = any(layer.dtype_policy.name == "mixed_float16" for layer in network.layers)
    if half and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(network.trainable_variables)
    inner = optimizer.inner_optimizer if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) else optimizer
    inner._all_reduce_sum_gradients = list  # `_descend` has done it
    return optimizer


def _scaled(loss, optimizer):
    """Return what to differentiate: this replica's part of the mean over all, scaled for float16."""
    return optimizer.scale_loss(loss / tf.distribute.get_replica_context().num_replicas_in_sync)


def _descend(gradients, optimizer, network):
    """Take one optimizer step on the network by scaled gradients and return the norm of the unscaled ones.

    On several replicas by the sum of theirs. It is taken here, not by the optimizer: loss scaling, which looks at one replica,
    has to see whether those of any are not finite, and the norm is that of what is applied.
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync > 1:
        gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    norm = tf.linalg.global_norm(gradients) / optimizer.scale_loss(1.0)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):  # it skips a step that overflows: nothing moves
        norm = tf.where(tf.math.is_finite(norm), norm, 0.0)
    optimizer.apply(gradients, network.trainable_variables)
    return norm
