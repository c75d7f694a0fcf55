import json

import pytest

from kgan.benchmarks.replicas import BETWEEN_BYTES_PER_S, GPU_FLOPS, START_S, WITHIN_BYTES_PER_S, estimate
from kgan.cli import main


def test_one_gpu_computes_and_does_not_communicate():
    assert estimate(flop=GPU_FLOPS / 10, gradient_bytes=1e9, all_reduces=6, gpus=1) == (pytest.approx(0.1), 0.0)


def test_a_ring_within_a_machine_and_one_between_machines_by_hand():
    _, eight = estimate(1e12, 1e9, 2, 8)
    assert eight == pytest.approx(2 * 7 / 8 * 1e9 / WITHIN_BYTES_PER_S + 2 * START_S)
    _, sixty_four = estimate(1e12, 1e9, 2, 64)
    assert sixty_four == pytest.approx(eight + 2 * 7 / 8 * 1e9 / BETWEEN_BYTES_PER_S)


def test_an_odd_batch_is_refused(capsys):
    assert main(["benchmark", "replicas", "--batch-size", "3"]) == 2
    assert "must be even. Received: 3" in capsys.readouterr().err


@pytest.mark.long
def test_the_command(tmp_path, capsys):
    file = tmp_path / "out.json"
    sizes = ["--dim", "4", "--batch-size", "4", "--rounds", "1", "--iterations", "1"]
    assert main(["benchmark", "replicas", *sizes, "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    assert result["seconds"].keys() == {"one device", "two replicas, one process", "two replicas, two processes"}
    assert min(result["seconds"].values()) > 0.0
    assert [row["gpus"] for row in result["estimate"]] == [1, 8, 64]
    assert "| two replicas, two processes |" in capsys.readouterr().out
