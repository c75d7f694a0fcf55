"""`kgan train` in several processes: who writes, and what becomes of a job that loses one of them."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from kgan.errors import InputError
from kgan.strategy import build_strategy
from kgan.training.run_folder import load_synthesizer
from tests.training.processes import cluster

STEPS = 60


def start(run, options, environments, steps):
    command = [sys.executable, "-m", "kgan.cli", "train", "--run", str(run), "--steps", str(steps), *options]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [subprocess.Popen(command, env=env, **streams) for env in environments]


def ended(processes):
    """Return exit code, output and errors of each process."""
    told = [process.communicate(timeout=300) for process in processes]
    return [(process.returncode, *texts) for process, texts in zip(processes, told, strict=True)]


def weights(run, step):
    with np.load(run / "checkpoints" / f"step_{step:08d}" / "weights.npz") as saved:
        return {name: saved[name] for name in saved.files}


@pytest.fixture(scope="module")
def options(tiny_run_options):
    return [*tiny_run_options, "--training.preview_steps", "1000", "--training.checkpoint_minutes", "0.02"]


@pytest.fixture(scope="module")
def job(tmp_path_factory, options):
    """The run of two processes of which one is killed without a word, and started again, both; what they said each time."""
    run = tmp_path_factory.mktemp("job") / "run"
    processes = start(run, options, cluster(), steps=100_000)
    deadline = time.monotonic() + 240
    while len(list(run.glob("checkpoints/step_*"))) < 2:
        if time.monotonic() > deadline or processes[0].poll() is not None:
            pytest.fail(str(ended(processes)))
        time.sleep(0.1)
    processes[1].kill()
    lost = ended(processes)
    step = max(int(folder.name[5:]) for folder in run.glob("checkpoints/step_*"))
    return run, lost, step, step + STEPS, ended(start(run, options, cluster(), step + STEPS))


def test_a_job_that_loses_a_process_ends_and_says_so(job):
    _, (chief, _), step, _, _ = job
    assert step > 0
    assert chief[0] == 1
    assert "Another process of this job was lost. Start all of them again with the same command." in chief[2]


def test_started_again_it_goes_on_and_ends_with_an_export(job):
    run, _, _, last, ((code, output, errors), (other_code, other_output, _)) = job
    assert (code, other_code) == (0, 0), errors[-3000:]
    assert f"{run} has done {last} iterations." in output
    assert other_output == ""  # one of them speaks
    assert f"Resuming {run}" in output + errors
    steps = [int(line.split(",")[0]) for line in (run / "history.csv").read_text().splitlines()[1:]]
    assert steps == list(range(2, last + 1, 2))
    sounds = load_synthesizer(run / "saved_model").generate(np.zeros((2, 8), np.float32))
    assert sounds.shape == (2, 1024)
    assert np.isfinite(sounds).all()


def test_it_learned_what_one_device_learns(job, options, tmp_path):
    """Killed, resumed and in two processes, against one that was never interrupted; and one alone goes on from there."""
    run, _, _, last, _ = job
    alone = tmp_path / "alone"
    assert ended(start(alone, options, [os.environ], last))[0][0] == 0
    mine, theirs = weights(run, last), weights(alone, last)
    assert mine.keys() == theirs.keys()
    for name, values in theirs.items():
        np.testing.assert_allclose(mine[name], values, rtol=1e-3, atol=1e-4, err_msg=name)
    assert ended(start(run, options, [os.environ], last + 4))[0][0] == 0
    assert weights(run, last + 4).keys() == theirs.keys()


def test_without_a_list_of_processes_there_is_no_multiworker(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(InputError, match="needs a list of the processes"):
        build_strategy("multiworker")
