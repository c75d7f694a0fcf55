"""Several replicas, in one process and in several, against one device with the same global batch."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kgan.benchmarks.replicas import local_cluster

PROGRAM = Path(__file__).with_name("replicas.py")
TRIALS = ("WGANGP.float32.sgd",)
# By SGD steps are as long as the gradients; what an optimizer or float16 adds is of no GAN in particular.
OTHER_TRIALS = (
    "DCGAN.float32.sgd", "WGAN.float32.sgd", "R1GAN.float32.sgd", "R1GAN.float32.adam", "WGANGP.float32.adam",
    "DCGAN.mixed_float16.adam", "WGANGP.mixed_float16.adam",
)  # fmt: skip


@pytest.fixture(scope="module", params=[TRIALS, pytest.param(OTHER_TRIALS, marks=pytest.mark.long)], ids=["some", "others"])
def trained(request, tmp_path_factory):
    """What `replicas.py` stored, for each strategy, and for the process of `multiworker` that is not the chief."""
    folder = tmp_path_factory.mktemp("replicas")
    environments = {"one": [os.environ], "mirrored": [os.environ], "multiworker": local_cluster(2)}
    for name, several in environments.items():
        command = [sys.executable, str(PROGRAM), name, str(folder / f"{name}.npz"), *request.param]
        processes = [subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) for env in several]
        for process in processes:
            _, errors = process.communicate(timeout=600)
            assert process.returncode == 0, errors[-3000:]
    files = {name: folder / f"{name}.npz" for name in environments} | {"beside": folder / "multiworker.npz.beside.npz"}
    return {name: dict(np.load(file)) for name, file in files.items()}


def results(trained, precision):
    """Return the names of what was stored of the trials of a precision."""
    names = [name for name in trained["one"] if f".{precision}." in name and not name.endswith(".alike")]
    assert names
    return names


@pytest.mark.parametrize("strategy", ["mirrored", "multiworker"])
def test_two_replicas_are_one_device(trained, strategy):
    for name in results(trained, "float32"):
        np.testing.assert_allclose(trained[strategy][name], trained["one"][name], rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.long
@pytest.mark.parametrize("trained", [OTHER_TRIALS], ids=["others"], indirect=True)
@pytest.mark.parametrize("strategy", ["mirrored", "multiworker"])
def test_in_float16_they_are_to_within_its_rounding(trained, strategy):
    """A sum of eight float16 gradients is not that of two sums of four. Adam moves a weight by 2e-4 in each of ten steps."""
    for name in results(trained, "mixed_float16"):
        mine, one = trained[strategy][name], trained["one"][name]
        if name.endswith(".weights"):
            assert np.mean(np.abs(mine - one)) < 0.025 * 10 * 2e-4
        else:
            norms = [0, 2]  # of both gradients, left out: their smallest parts are below float16's range
            np.testing.assert_allclose(np.delete(mine, norms, axis=1), np.delete(one, norms, axis=1), rtol=0.02, atol=2e-3)


@pytest.mark.parametrize("strategy", ["mirrored", "multiworker"])
def test_replicas_are_alike_to_the_bit(trained, strategy, request):
    alike = {name: values.all() for name, values in trained[strategy].items() if name.endswith("alike")}
    assert alike == dict.fromkeys((f"{trial}.alike" for trial in request.node.callspec.params["trained"]), True)
    if strategy == "multiworker":
        for name, values in trained["beside"].items():
            if name.endswith("weights"):
                np.testing.assert_array_equal(values, trained[strategy][name])


def test_replicas_hear_different_noise_and_together_that_of_one_device(trained):
    one, mirrored = trained["one"]["noise"], trained["mirrored"]["noise"]
    several = np.concatenate([trained["multiworker"]["noise"], trained["beside"]["noise"]])
    assert len(np.unique(one[:, 0])) == 8
    np.testing.assert_array_equal(mirrored, one)
    np.testing.assert_array_equal(several, one)


@pytest.mark.parametrize("strategy", ["mirrored", "multiworker", "beside"])
def test_an_infinite_gradient_on_one_replica_stops_the_step_on_all(trained, strategy):
    assert not len(trained[strategy]["moved"])
    np.testing.assert_array_equal(trained[strategy]["scale"], 256.0 / 4)  # halved by each of two critic steps
