"""Distribution of a run over devices and machines."""

import functools
import os
import shutil

import tensorflow as tf

from kgan.errors import InputError, check_choice

STRATEGIES = ("auto", "one", "mirrored", "multiworker")


@functools.cache  # collective operations can be set up only once per process
def build_strategy(name="auto"):
    """Return a `tf.distribute.Strategy`. Call it before any other operation, because several machines must connect first.

    Args:
        name: `"one"`: a single device. `"mirrored"`: all local GPUs, or else all logical CPU devices. `"multiworker"`:
            several processes, on one or several machines, that the environment lists in `TF_CONFIG` or in SLURM's
            variables inside `srun`. `"auto"`: several processes if the environment lists them, else all local GPUs if
            there are several, else one device.

    Raises:
        InputError: The name is unknown, or the environment lists no processes.
    """
    check_choice("strategy", name, STRATEGIES)
    if name == "auto" and _listed():
        name = "multiworker"
    if name == "multiworker":  # first, so that SLURM processes choose their GPUs before TensorFlow looks for any
        return _multiworker()
    gpus = tf.config.list_physical_devices("GPU")
    if name == "one" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    devices = tf.config.list_logical_devices("GPU" if gpus else "CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def _multiworker():
    if not _listed():
        raise InputError("--strategy multiworker needs a list of the processes: TF_CONFIG, or SLURM's srun. Received: neither.")
    if "TF_CONFIG" in os.environ:
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = {}
    if not shutil.which("nvidia-smi"):  # the resolver counts GPUs with it; without it, assume one per process
        gpus = {"gpus_per_node": int(os.environ["SLURM_STEP_NUM_TASKS"]), "gpus_per_task": 1, "auto_set_gpu": False}
    port = 20_000 + 16 * (int(os.environ.get("SLURM_JOB_ID", 0)) % 640)  # other jobs on the same machine get other ports
    resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(port_base=port, **gpus)
    return tf.distribute.MultiWorkerMirroredStrategy(resolver)


def _listed():
    """Return whether the environment lists processes that work together."""
    return "TF_CONFIG" in os.environ or int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1


def is_chief(strategy):
    """Return whether this process writes the files: it is the only one, or the first of several."""
    return strategy.extended.should_checkpoint


def is_multiworker(strategy):
    """Return whether several processes work together."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def total(strategy, number):
    """Return the sum of an integer over all processes. All of them must call this."""
    if not is_multiworker(strategy):
        return number
    return int(_sum(strategy)(tf.constant(number, tf.int64))) // len(strategy.extended.worker_devices)


@functools.cache
def _sum(strategy):
    """Return a function that sums a number over all devices of all processes."""
    return tf.function(lambda number: strategy.reduce("SUM", strategy.run(tf.identity, (number,)), axis=None))


def chiefs(strategy, number):
    """Return the chief's integer in every process. All of them must call this."""
    return total(strategy, number if is_chief(strategy) else 0)


def check_same(strategy, number, rule):
    """Raise an error in every process unless the integer is the same in all of them.

    Raises:
        InputError: The integers differ. The message is `rule` and the received value.
    """
    if total(strategy, number * number) * total(strategy, 1) != total(strategy, number) ** 2:
        raise InputError(f"{rule} Received: {number} here, others in other processes.")
