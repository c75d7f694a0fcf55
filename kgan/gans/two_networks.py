"""The Keras interface of a model with two networks and two optimizers."""

from typing import Any, Literal

import keras
import tensorflow as tf

from kgan.gans.checks import check_optimizers
from kgan.gans.replicas import prepare


class TwoNetworks(keras.Model):
    """The Keras interface of an `AdversarialModel`: outputs, metrics, optimizers and their serialization."""

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

    def compile(
        self,
        generator_optimizer: keras.Optimizer | str | dict,
        critic_optimizer: keras.Optimizer | str | dict,
        *,
        jit_compile: bool | Literal["auto"] = "auto",
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        **kwargs: Any,
    ) -> None:
        """Set both optimizers.

        With the policy `mixed_float16`, each is wrapped in a `LossScaleOptimizer`, because small gradients would vanish.

        Args:
            generator_optimizer: `keras.Optimizer`, name or configuration.
            critic_optimizer: The same; the two must not be the same object.
            jit_compile: Whether XLA compiles the step. `"auto"` means yes on one GPU and no elsewhere: XLA is not faster
                on a CPU, and it cannot compile the communication between replicas.
            run_eagerly: Whether the step runs operation by operation, as in `keras.Model.compile`.
            steps_per_execution: Iterations in one call of the graph, as in `keras.Model.compile`.
            **kwargs: Other arguments are not supported.

        Raises:
            ValueError: Both optimizers are the same object, or there is another argument, such as `loss` or `metrics`.
        """
        if kwargs:
            raise ValueError(
                "`compile` takes two optimizers, `jit_compile`, `run_eagerly` and `steps_per_execution`. A GAN has its own"
                f" losses and no targets, so neither `loss` nor `metrics` apply. Received: {', '.join(kwargs)}"
            )
        check_optimizers(generator_optimizer, critic_optimizer)
        if jit_compile == "auto":
            jit_compile = bool(tf.config.list_logical_devices("GPU")) and not tf.distribute.has_strategy()
        # None: otherwise Keras would save an optimizer that nothing uses.
        super().compile(None, jit_compile=jit_compile, run_eagerly=run_eagerly, steps_per_execution=steps_per_execution)
        self.generator_optimizer = _ready(generator_optimizer, self.generator)
        self.critic_optimizer = _ready(critic_optimizer, self.critic)
        prepare(self)

    def fit(self, *args, validation_data=None, validation_split=0.0, **kwargs):
        """Train, as `keras.Model.fit` does, but without validation, see `evaluate`.

        Raises:
            ValueError: `validation_data` or `validation_split` is given.
        """
        if validation_data is not None or validation_split:
            self.evaluate()
        return super().fit(*args, **kwargs)

    def evaluate(self, *args, **kwargs):
        """Raise a `ValueError`: the losses of a GAN do not measure its quality.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "A GAN cannot be evaluated by its losses, which are relative to its other network, so there is no `evaluate` and no"
            " `validation_data`. `kgan.evaluation.evaluator.Evaluator` scores the sounds that it makes."
        )

    def get_compile_config(self):
        return {
            "generator_optimizer": keras.optimizers.serialize(self.generator_optimizer),
            "critic_optimizer": keras.optimizers.serialize(self.critic_optimizer),
        }

    def compile_from_config(self, config):
        self.compile(**{name: keras.optimizers.deserialize(value) for name, value in config.items()})


def _ready(optimizer, network):
    """Return the optimizer, built so that loading keeps its slots, and with loss scaling where float16 needs it."""
    optimizer = keras.optimizers.get(optimizer)
    half = any(layer.dtype_policy.name == "mixed_float16" for layer in network.layers)
    if half and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(network.trainable_variables)
    return optimizer
