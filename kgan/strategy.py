"""The devices and machines that a run is spread over."""

import functools
import os
import shutil

import tensorflow as tf

from kgan.errors import InputError, check_choice

STRATEGIES = ("auto", "one", "mirrored", "multiworker")


@functools.cache  # collective operations can be set up once in a process
def build_strategy(name="auto"):
    """Return a `tf.distribute.Strategy`. Call it before any other operation: several machines have to find each other first.

    Args:
        name: `"one"`, a single device. `"mirrored"`, all local GPUs, or else all that TensorFlow calls a CPU.
            `"multiworker"`, several processes, also of several machines, that the environment lists: `TF_CONFIG`, or SLURM's
            variables inside `srun`. `"auto"`, several processes where the environment lists them, else several GPUs where there
            are, else one.

    Raises:
        InputError: the name is unknown, or there is no list of processes.
    """
    check_choice("strategy", name, STRATEGIES)
    if name == "auto" and _listed():
        name = "multiworker"
    if name == "multiworker":  # first: SLURM's processes choose their GPUs before TensorFlow looks for any
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
    if not shutil.which("nvidia-smi"):  # which the resolver asks for GPUs, and counts processes by them: one for each then
        gpus = {"gpus_per_node": int(os.environ["SLURM_STEP_NUM_TASKS"]), "gpus_per_task": 1, "auto_set_gpu": False}
    port = 20_000 + 16 * (int(os.environ.get("SLURM_JOB_ID", 0)) % 640)  # other jobs on the same machine have others
    resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(port_base=port, **gpus)
    return tf.distribute.MultiWorkerMirroredStrategy(resolver)


def _listed():
    """Return whether the environment lists processes that work together."""
    return "TF_CONFIG" in os.environ or int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1


def is_chief(strategy):
    """Return whether this process is the one that writes: the only one, or the first of several."""
    return strategy.extended.should_checkpoint


def is_multiworker(strategy):
    """Return whether several processes work together."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def total(strategy, number):
    """Return the sum of an integer over all processes; every one of them has to ask."""
    if not is_multiworker(strategy):
        return number
    return int(_sum(strategy)(tf.constant(number, tf.int64))) // len(strategy.extended.worker_devices)


@functools.cache
def _sum(strategy):
    """Return a function that adds up a number over all devices of all processes."""
    return tf.function(lambda number: strategy.reduce("SUM", strategy.run(tf.identity, (number,)), axis=None))


def chiefs(strategy, number):
    """Return the chief's integer in every process; every one of them has to ask."""
    return total(strategy, number if is_chief(strategy) else 0)


def check_same(strategy, number, rule):
    """Raise an error in every process unless all of them have the same integer.

    Raises:
        InputError: `rule`, and what was received.
    """
    if total(strategy, number * number) * total(strategy, 1) != total(strategy, number) ** 2:
        raise InputError(f"{rule} Received: {number} here, others in other processes.")
