"""`kgan train` in several processes: who writes, and what becomes of a job that loses one of them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from kgan.benchmarks.replicas import local_cluster
from kgan.errors import InputError
from kgan.serving.saved_model import exported_step
from kgan.strategy import build_strategy
from kgan.training.run_folder import load

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
    processes = start(run, options, local_cluster(2), steps=100_000)
    deadline = time.monotonic() + 240
    while len(list(run.glob("checkpoints/step_*"))) < 2:
        if time.monotonic() > deadline or processes[0].poll() is not None:
            pytest.fail(str(ended(processes)))
        time.sleep(0.1)
    processes[1].kill()
    lost = ended(processes)
    step = max(int(folder.name[5:]) for folder in run.glob("checkpoints/step_*"))
    return run, lost, step, step + STEPS, ended(start(run, options, local_cluster(2), step + STEPS))


@pytest.mark.long
def test_a_job_that_loses_a_process_ends_and_says_so(job):
    _, (chief, _), step, _, _ = job
    assert step > 0
    assert chief[0] == 1
    assert "Another process of this job was lost. Start all of them again with the same command." in chief[2]


@pytest.mark.long
def test_started_again_it_goes_on_and_ends_with_an_export(job):
    run, _, _, last, ((code, output, errors), (other_code, other_output, _)) = job
    assert (code, other_code) == (0, 0), errors[-3000:]
    assert f"{run} has done {last} iterations." in output
    assert other_output == ""  # one of them speaks
    assert f"Resuming {run}" in output + errors
    steps = [int(line.split(",")[0]) for line in (run / "history.csv").read_text().splitlines()[1:]]
    assert steps == sorted(set(steps))
    assert steps[-1] == last
    # Resumed between two rows it goes on from its checkpoint's step, and the epoch that a process was lost in has no row.
    assert np.diff(steps).max() <= 4
    sounds = load(run / "saved_model").generate(np.zeros((2, 8), np.float32))
    assert sounds.shape == (2, 1024)
    assert np.isfinite(sounds).all()


@pytest.mark.long
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


@pytest.mark.long
def test_a_signal_to_one_process_ends_all_of_them_at_the_same_iteration(tmp_path, options):
    run = tmp_path / "run"
    chief, other = processes = start(run, options, local_cluster(2), steps=100_000)
    while not list(run.glob("checkpoints/step_*")):
        assert chief.poll() is None, ended(processes)
        time.sleep(0.1)
    other.send_signal(signal.SIGTERM)
    (chief_code, output, _), (other_code, *_) = ended(processes)
    assert (chief_code, other_code) == (0, 128 + signal.SIGTERM)
    step = max(int(folder.name[5:]) for folder in run.glob("checkpoints/step_*"))
    assert f"{run} has done {step} iterations." in output
    assert exported_step(run / "saved_model") == step


def test_without_a_list_of_processes_there_is_no_multiworker(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(InputError, match="needs a list of the processes"):
        build_strategy("multiworker")


SPEAK = """
from kgan.errors import InputError
from kgan.strategy import build_strategy, chiefs, check_same, is_chief, total
strategy = build_strategy()
chief = is_chief(strategy)
print(strategy.num_replicas_in_sync, chief, total(strategy, 3 if chief else 4), chiefs(strategy, 5 if chief else 6))
check_same(strategy, 7, "never raised")
try:
    check_same(strategy, 8 if chief else 9, "All must agree.")
except InputError as error:
    print(error)
"""


@pytest.mark.long
def test_slurm_lists_the_processes_and_they_agree(unused_job_id):
    shared = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_TASKS_PER_NODE": "2"}
    environments = [{**os.environ, **shared, "SLURM_JOB_ID": unused_job_id, "SLURM_PROCID": str(i)} for i in range(2)]
    command = [sys.executable, "-c", SPEAK]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    told = ended([subprocess.Popen(command, env=env, **streams) for env in environments])
    assert [code for code, *_ in told] == [0, 0], told[0][2][-3000:]
    outputs = [output.splitlines() for _, output, _ in told]
    assert outputs[0] == ["2 True 7 5", "All must agree. Received: 8 here, others in other processes."]
    assert outputs[1] == ["2 False 7 5", "All must agree. Received: 9 here, others in other processes."]


@pytest.fixture
def unused_job_id():
    """A number of a SLURM job whose ports are free."""
    for job_id in range(os.getpid(), os.getpid() + 640):
        with contextlib.suppress(OSError), socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 20_000 + 16 * (job_id % 640)))
            second.bind(("127.0.0.1", 20_001 + 16 * (job_id % 640)))
            return str(job_id)
    pytest.skip("no port is free")
