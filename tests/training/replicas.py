"""Train GANs for ten iterations over a strategy's replicas and store what came of it: `replicas.py STRATEGY OUT.npz TRIAL...`.

A trial is a GAN, its precision and its optimizer: `WGANGP.mixed_float16.adam`.

A process of its own, since TensorFlow's devices and its place among other processes are settled once.
"""

import sys

import tensorflow as tf

from kgan.benchmarks.replicas import split_processor
from kgan.strategy import build_strategy, is_chief

if sys.argv[1] == "mirrored":
    split_processor()
strategy = build_strategy(sys.argv[1])

import keras  # noqa: E402
import numpy as np  # noqa: E402

from kgan.data.pipeline import training_dataset  # noqa: E402
from kgan.data.sounds import Sounds, to_int16  # noqa: E402
from kgan.gans import DCGAN, R1GAN, WGAN, WGANGP  # noqa: E402
from kgan.networks import wave_critic, wave_generator  # noqa: E402
from kgan.noise import folded_seed  # noqa: E402
from kgan.representations import Wave  # noqa: E402

ITERATIONS, BATCH_SIZE, LENGTH = 10, 8, 1024
GANS = {each.__name__: each for each in (DCGAN, WGAN, WGANGP, R1GAN)}
OPTIMIZERS = {"sgd": lambda: keras.optimizers.SGD(0.01), "adam": lambda: keras.optimizers.Adam(2e-4, 0.5, 0.9)}


def sounds():
    time_s, numbers = np.arange(LENGTH) / 16000, np.arange(40, dtype=np.int32)
    audio = np.exp(-20 * time_s) * np.sin(2 * np.pi * (100 + 25 * numbers[:, None]) * time_s)
    return Sounds(to_int16(audio), 16000, [str(i) for i in numbers], labels={"number": numbers})


def make_gan(gan_class, policy, optimizer):
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    keras.config.set_dtype_policy(policy)
    n_critic = 1 if gan_class in (DCGAN, R1GAN) else 2
    # From a scale that no gradient overflows at: whether one does depends on how many examples it is of.
    scaled = {"initial_scale": 256.0} if policy == "mixed_float16" else None
    with strategy.scope():
        gan = gan_class(
            wave_generator(LENGTH, dim=4, latent_dim=8), wave_critic(LENGTH, dim=4), n_critic=n_critic, ema_decay=0.9
        )
        made = [OPTIMIZERS[optimizer]() for _ in range(2)]
        gan.compile(*(keras.optimizers.LossScaleOptimizer(each, **scaled) if scaled else each for each in made))
    return gan


def train(gan, rows):
    class Keep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            rows.append([logs[name] for name in sorted(logs)])
            self.model.reset_metrics()

    dataset = strategy.distribute_datasets_from_function(
        lambda context: training_dataset(sounds(), Wave(), BATCH_SIZE, gan.n_critic, input_context=context)
    )
    gan.fit(dataset, steps_per_epoch=ITERATIONS, shuffle=False, verbose=0, callbacks=[Keep()])


def on_replicas(variable):
    """Return a variable's values on this process's replicas."""
    return [value.numpy() for value in strategy.experimental_local_results(variable.value)]


def all_weights(gan):
    return np.concatenate([on_replicas(weight)[0].ravel() for weight in gan.weights])


found = {}
for name in sys.argv[3:]:
    gan_class, policy, optimizer = name.split(".")
    gan, rows = make_gan(GANS[gan_class], policy, optimizer), []
    train(gan, rows)
    found[f"{name}.logs"], found[f"{name}.weights"] = np.array(rows), all_weights(gan)
    states = [*gan.weights, *gan.generator_optimizer.variables, *gan.critic_optimizer.variables]
    found[f"{name}.alike"] = np.array([len({each.tobytes() for each in on_replicas(v)}) == 1 for v in states])

noise = strategy.run(lambda: gan.latents(BATCH_SIZE // strategy.num_replicas_in_sync, folded_seed(0, 0)))
found["noise"] = np.concatenate([each.numpy() for each in strategy.experimental_local_results(noise)])

# One example of the last replica is not finite: nobody's weights may move, in either network.
gan = make_gan(WGANGP, "mixed_float16", "adam")
before = all_weights(gan)
per_replica = gan.n_critic * BATCH_SIZE // strategy.num_replicas_in_sync


def with_infinity(context):
    last = context.replica_id_in_sync_group == strategy.num_replicas_in_sync - 1
    return {"x": tf.fill((per_replica, LENGTH, 1), np.float32(np.inf if last else 0.5))}


broken = strategy.experimental_distribute_values_from_function(with_infinity)
tf.function(lambda element: strategy.run(lambda data: gan._critic_steps(*gan._split(data)), (element,)))(broken)
found["moved"] = np.flatnonzero(all_weights(gan) != before)
found["scale"] = np.array(on_replicas(gan.critic_optimizer.dynamic_scale))
np.savez(sys.argv[2] if is_chief(strategy) else f"{sys.argv[2]}.beside.npz", **found)
