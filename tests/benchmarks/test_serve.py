import json

import numpy as np
import pytest

from kgan.benchmarks import serve
from kgan.cli import main


class SlowClient:
    """Answers after 2 ms; every tenth request of a client fails."""

    def __init__(self, address, model, retries=3):
        self.asked = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def generate(self, count, seed=0):
        self.asked += 1
        serve.time.sleep(0.002)
        if self.asked % 10 == 0:
            raise ConnectionError("gone")
        return np.zeros((count, 4))


def test_it_counts_what_was_answered_and_what_was_not(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(serve, "Client", SlowClient)
    file = tmp_path / "figures.json"
    told = ["http://host", "--clients", "3", "--seconds", "1", "--count", "5", "--json", str(file)]
    assert main(["benchmark", "serve", *told]) == 1
    figures = json.loads(file.read_text())
    assert figures["errors"] == pytest.approx(figures["requests"] / 9, abs=3)
    assert figures["sounds_per_second"] == 5 * figures["requests_per_second"]
    assert figures["requests_per_second"] == pytest.approx(figures["requests"], rel=0.2)
    assert 2 < figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"]
    assert "Error: ConnectionError: gone" in capsys.readouterr().out


def test_a_server_that_is_not_there(capsys):
    assert main(["benchmark", "serve", "http://127.0.0.1:9", "--seconds", "1"]) == 2
    assert "127.0.0.1:9" in capsys.readouterr().err
