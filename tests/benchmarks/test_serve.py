import json

import numpy as np
import pytest

from kgan.benchmarks import serve
from kgan.cli import main
from kgan.errors import InputError


class SlowClient:
    """Answers after 2 ms; every tenth request of a client fails."""

    def __init__(self, address, model, retries=3):
        self.asked = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def generate(self, count=None, latents=None):
        count = count or len(latents)
        self.asked += 1
        serve.time.sleep(0.002)
        if self.asked % 10 == 0:
            raise ConnectionError("gone")
        return np.zeros((count, 4))


def test_it_counts_what_was_answered_and_what_was_not(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(serve, "Client", SlowClient)
    file = tmp_path / "figures.json"
    told = ["http://host", "--latent-dim", "7", "--clients", "3", "--seconds", "1", "--count", "5", "--json", str(file)]
    assert main(["benchmark", "serve", *told]) == 1
    figures = json.loads(file.read_text())
    assert figures["errors"] == pytest.approx(figures["requests"] / 9, abs=3)
    assert figures["errors"] <= 3 * 10  # a pause after each
    assert figures["sounds_per_second"] == 5 * figures["requests_per_second"]
    assert figures["requests_per_second"] == pytest.approx(figures["requests"], rel=0.2)
    assert 2 < figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"]
    assert f"{figures['errors']} times ConnectionError: gone" in capsys.readouterr().out


def test_a_server_that_fails_from_then_on(tmp_path, monkeypatch):
    class Failing(SlowClient):
        def generate(self, count=None, latents=None, first=[True]):  # noqa: B006
            if not first:
                raise ConnectionError("gone")
            first.clear()

    monkeypatch.setattr(serve, "Client", Failing)
    figures = serve.benchmark_serve("http://host", seconds=0.3, clients=1, json_file=tmp_path / "figures.json")
    assert json.loads((tmp_path / "figures.json").read_text()) == figures
    assert (figures["requests"], figures["p50_ms"]) == (0, None)
    assert 1 <= figures["errors"] <= 4
    with pytest.raises(InputError, match="`seconds` must be above 0"):
        serve.benchmark_serve("http://host", seconds=0)


def test_a_server_that_is_not_there(capsys):
    assert main(["benchmark", "serve", "http://127.0.0.1:9", "--seconds", "1"]) == 2
    assert "127.0.0.1:9" in capsys.readouterr().err
