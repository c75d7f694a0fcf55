import io
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kgan.errors import InputError
from kgan.serving import Client

TRANSPORTS = ("rest", "grpc")


@pytest.fixture(params=TRANSPORTS)
def address(request, served):
    return getattr(served[0], request.param)


def test_it_brings_the_model_s_sounds(served, address):
    _, synthesizer = served
    latents = synthesizer.latents(150, seed=7)
    expected = synthesizer.generate(latents)
    with Client(address, model="drums") as client:
        np.testing.assert_allclose(client.generate(count=3, seed=7), expected[:3], atol=1e-6)
        asked = served[0].asked
        np.testing.assert_allclose(client.generate(latents), expected, atol=1e-6)
        assert served[0].asked - asked == 3  # 64 at a time
        assert client.generate(latents[:1]).dtype == np.float32
    with Client(address, model="drums/versions/1") as client:
        assert client.generate(latents[:2]).shape == (2, 512)


def test_it_writes_wav_files_and_overwrites_none(served, address, tmp_path):
    _, synthesizer = served
    latents = synthesizer.latents(3, seed=5)
    expected = synthesizer.generate(latents)
    with Client(address, model="drums") as client:
        for folder, what in (("latents", {"latents": latents}), ("seed", {"count": 3, "seed": 5})):
            paths = client.write_wavs(tmp_path / folder, **what)
            assert [path.name for path in paths] == ["00000.wav", "00001.wav", "00002.wav"]
            for path, wave in zip(paths, expected, strict=True):
                audio, rate_hz = soundfile.read(io.BytesIO(path.read_bytes()))
                assert rate_hz == 16000
                assert np.abs(audio - wave).max() <= 1 / 32767
        with pytest.raises(InputError, match="new folder, to overwrite none"):
            client.write_wavs(tmp_path / "seed", count=1)


def test_it_tries_again_while_the_server_is_unavailable(served, address):
    stand_in, _ = served
    with Client(address, model="drums", retries=2) as client:
        stand_in.unavailable, asked = 2, stand_in.asked
        assert client.generate(count=1).shape == (1, 1024)
        assert stand_in.asked - asked == 3
        stand_in.unavailable, asked = 9, stand_in.asked
        with pytest.raises(ConnectionError, match="unavailable: the model is being loaded"):
            client.generate(count=1)
        assert stand_in.asked - asked == 3
    with Client(address, model="drums", retries=0) as client:
        stand_in.unavailable, asked = 1, stand_in.asked
        with pytest.raises(ConnectionError):
            client.generate(count=1)
        assert stand_in.asked - asked == 1
    stand_in.unavailable = 0


def test_it_does_not_wait_for_ever(served, address):
    stand_in, _ = served
    stand_in.delay_s = 3.0
    began_s = time.perf_counter()
    with Client(address, model="drums", timeout_s=0.3) as client, pytest.raises(TimeoutError, match=r"within 0.3 s"):
        client.generate(count=1)
    assert time.perf_counter() - began_s < 2.0
    stand_in.delay_s = 0.0


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "grpc://127.0.0.1:9"])
def test_nobody_there(address):
    with Client(address, retries=0) as client, pytest.raises(ConnectionError, match=r"127.0.0.1:9"):
        client.generate(count=1)


def test_what_the_server_refuses_is_said_and_not_repeated(served, address):
    stand_in, _ = served
    with Client(address, model="drums") as client:
        bad = {
            "1 to 256 sounds": {"count": 10**6},
            "finite": {"latents": np.full((2, 8), np.nan)},
            r"(?s)shape|Shape|incompatible": {"latents": np.zeros((2, 7))},
        }
        for message, request in bad.items():
            asked = stand_in.asked
            with pytest.raises(InputError, match=message):
                client.generate(**request)
            assert stand_in.asked - asked == 1
        assert client.generate(count=1).shape == (1, 1024)
    with Client(address, model="horns") as client, pytest.raises(InputError, match="not found"):
        client.generate(count=1)


def test_what_it_refuses_itself():
    for address in ("localhost:8501", "ftp://host", "http://", "http://[::1:80", ""):
        with pytest.raises(InputError, match="must be like http://localhost:8501"):
            Client(address)
    for model in ("", "drums/versions/new"):
        with pytest.raises(InputError, match="must be like drums, or drums/versions/2"):
            Client("http://localhost:8501", model)
    with pytest.raises(InputError, match="timeout_s"):
        Client("http://localhost:8501", timeout_s=0)
    client = Client("http://localhost:8501")
    for latents in (np.zeros(8), np.zeros((0, 8)), np.zeros((1, 2, 8))):
        with pytest.raises(InputError, match="must be .count, latent_dim"):
            client.generate(latents)
    with pytest.raises(InputError, match="both, or neither"):
        client.generate()
    for request in ({"count": 10**10}, {"count": 1, "seed": 2**63}, {"count": "2"}, {"count": 2.5}):
        with pytest.raises(InputError, match="must be integers"):
            client.generate(**request)


@pytest.mark.parametrize(
    ("status", "body", "raised", "message"),
    [
        (503, '{"error": "loading"}', ConnectionError, "is unavailable: loading"),
        (429, '{"error": "too many"}', InputError, "refused the request: too many"),
        (500, "boom", ConnectionError, "failed: 500"),
        (504, "", TimeoutError, "in time: 504"),
        (200, "<html>", InputError, "must be TensorFlow Serving's"),
        (200, '{"predictions": [1]}', InputError, "must be TensorFlow Serving's"),
        (200, '{"outputs": {"logits": [1]}}', InputError, "`sample` returns audio, latents. Received: logits"),
    ],
)
def test_what_is_not_a_server_of_ours(status, body, raised, message):
    """It says `Retry-After: 3600`, too, which is not waited for; only the first is asked twice."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Retry-After", "3600")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Client(f"http://127.0.0.1:{server.server_port}", retries=1) as client, pytest.raises(raised, match=message):
            client.generate(count=1)
        server.shutdown()
    assert asked == ["/v1/models/kgan:predict"] * (2 if status == 503 else 1)


def test_many_threads_share_a_client(served, address):
    _, synthesizer = served
    expected = synthesizer.generate(synthesizer.latents(16, seed=3))
    results = {}
    with Client(address, model="drums") as client:

        def ask(i):
            results[i] = client.generate(expected_latents[i : i + 1])

        expected_latents = synthesizer.latents(16, seed=3)
        threads = [threading.Thread(target=ask, args=(i,)) for i in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for i in range(16):
        np.testing.assert_allclose(results[i][0], expected[i], atol=1e-6)


def test_the_readme_s_lines(served, tmp_path, monkeypatch):
    stand_in, synthesizer = served
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL) if "Client(" in block]
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code.replace('"http://localhost:8501"', f'"{stand_in.rest}", model="drums"'), names)
    np.testing.assert_allclose(names["sounds"], synthesizer.generate(synthesizer.latents(4, seed=7)), atol=1e-6)
    assert len(list((tmp_path / "served_sounds").iterdir())) == 4
