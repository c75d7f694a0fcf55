import io
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kgan.benchmarks.serve import benchmark_serve
from kgan.errors import InputError
from kgan.serving import Client

TRANSPORTS = ("rest", "grpc")


@pytest.fixture(params=TRANSPORTS)
def address(request, served):
    return getattr(served[0], request.param)


@pytest.fixture(params=TRANSPORTS)
def notes(request, served_notes):
    """A client of a conditional model, its synthesizer and the stand-in."""
    stand_in, synthesizer = served_notes
    with Client(getattr(stand_in, request.param), model="notes") as client:
        yield client, synthesizer, stand_in


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
            assert [path.name for path in paths] == ["0000.wav", "0001.wav", "0002.wav"]
            for path, wave in zip(paths, expected, strict=True):
                audio, rate_hz = soundfile.read(io.BytesIO(path.read_bytes()))
                assert rate_hz == 16000
                assert np.abs(audio - wave).max() <= 1 / 32767
        with pytest.raises(InputError, match="must be written to a new folder"):
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


def test_labels_of_latents(notes):
    client, synthesizer, stand_in = notes
    latents = synthesizer.latents(70, seed=7)
    labels = {"pitch": np.tile([60, 64], 35), "family": 0}
    expected = synthesizer.generate(latents, labels)
    asked = stand_in.asked
    np.testing.assert_allclose(client.generate(latents, labels=labels), expected, atol=1e-6)
    assert stand_in.asked - asked == 2
    assert np.abs(client.generate(latents[:2], labels=labels | {"pitch": [62, 64]}) - expected[:2]).max(axis=1)[0] > 1e-3


def test_labels_of_a_seed_are_any_where_none_is_asked_for(notes):
    client, synthesizer, stand_in = notes
    latents = synthesizer.latents(5, seed=7)

    def expected(asked):
        return synthesizer.generate(latents, synthesizer.chosen_labels(5, asked, seed=7))

    for labels in (None, {"family": 2}, {"pitch": 64, "family": -1}, {"pitch": 60, "family": np.int64(2)}):
        np.testing.assert_allclose(client.generate(count=5, seed=7, labels=labels), expected(labels), atol=1e-6)
    asked = stand_in.asked
    client.generate(count=1)
    assert stand_in.asked - asked == 1  # it knows by now which labels there are


def test_labels_of_wav_files(notes, tmp_path):
    client, synthesizer, _ = notes
    latents = synthesizer.latents(3, seed=5)
    chosen = synthesizer.chosen_labels(3, {"family": 2}, seed=5)
    expected = synthesizer.generate(latents, chosen)
    asked = {"seed": {"count": 3, "seed": 5, "labels": {"family": 2}}, "latents": {"latents": latents, "labels": chosen}}
    for folder, what in asked.items():
        for path, wave in zip(client.write_wavs(tmp_path / folder, **what), expected, strict=True):
            assert np.abs(soundfile.read(path)[0] - wave).max() <= 1 / 32767


def test_labels_that_are_refused(notes, served, address):
    client, synthesizer, stand_in = notes
    latents = synthesizer.latents(2)
    rule = "`pitch` must be an integer, or 2 of them. Received:"
    for strange in ([60, 62, 64], [[60], [62]], 60.5, "60", 2**31):
        with pytest.raises(InputError, match=rule):
            client.generate(latents, labels={"pitch": strange, "family": 0})
    asked = stand_in.asked
    with pytest.raises(InputError, match=r"`pitch` must be one integer for all .* one for each. Received: \[60, 62\]"):
        client.generate(count=2, labels={"pitch": [60, 62]})
    assert stand_in.asked == asked  # it says so itself
    with pytest.raises(InputError, match="`pitch` must be one of 60, 62, 64. Received:.*61"):
        client.generate(count=2, labels={"pitch": 61})
    with pytest.raises(InputError, match=r"`family` must be one of bass, flute. Received:.*-1"):
        client.generate(latents, labels={"pitch": 60, "family": [-1, 2]})
    for labels in ({"pitch": 60}, None):
        with pytest.raises(InputError, match="does not match signature"):
            client.generate(latents, labels=labels)
    with pytest.raises(InputError, match="1 to 256 sounds"):
        client.generate(count=1000)
    with Client(address, model="drums") as unconditional:
        for request in ({"count": 2}, {"latents": latents}):
            asked = served[0].asked
            with pytest.raises(InputError, match="refused the request: .*does not match signature.*pitch"):
                unconditional.generate(**request, labels={"pitch": 60})
            assert served[0].asked - asked == 1
        assert unconditional.generate(count=1).shape == (1, 1024)


def test_a_client_outlives_a_change_of_labels(notes, served):
    """The server loads a new version of the model, without labels, and then the old one again."""
    client, _, stand_in = notes
    assert client.generate(count=2).shape == (2, 64)
    versions, files = stand_in._models, stand_in._files
    stand_in._models, stand_in._files = served[0]._models, served[0]._files
    try:
        assert client.generate(count=2).shape == (2, 1024)
    finally:
        stand_in._models, stand_in._files = versions, files
    assert client.generate(count=2).shape == (2, 64)


def test_the_benchmark_asks_a_conditional_model_for_any_label(served_notes):
    stand_in, _ = served_notes
    for address in (stand_in.rest, stand_in.grpc):
        figures = benchmark_serve(address, "notes", clients=2, seconds=0.2)
        assert (figures["errors"], figures["requests"] > 0) == (0, True)
    figures = benchmark_serve(stand_in.grpc, "notes", clients=1, seconds=0.2, latent_dim=8, labels={"pitch": 60, "family": 0})
    assert (figures["errors"], figures["requests"] > 0) == (0, True)


@pytest.fixture(params=TRANSPORTS)
def player(request, served_playing):
    """A client of a model that plays notes, its synthesizer and the stand-in."""
    stand_in, synthesizer = served_playing
    with Client(getattr(stand_in, request.param), model="playing") as client:
        yield client, synthesizer, stand_in


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"count": 10, "seed": 7, "labels": {"pitch": np.linspace(50, 70.5, 10), "family": 1}, "duration_s": 0.3},
        {"seed": 3, "labels": {"pitch": 61.25}, "duration_s": 0.7, "bend_semitones": [0, 2]},
        {"count": 2, "labels": {"family": -1}, "duration_s": 0.2, "bend_semitones": [[0, 2, 0], [1, 1, 1]]},
    ],
)
def test_it_plays_the_notes_that_the_model_plays(player, asked):
    client, synthesizer, _ = player
    expected = synthesizer.play(**asked)
    assert np.abs(expected).max() > 0.1
    played = client.play(**asked)
    assert (played.shape, played.dtype) == (expected.shape, np.float32)
    np.testing.assert_allclose(played, expected, atol=1e-6)


def test_it_plays_latents_eight_at_once(player):
    client, synthesizer, stand_in = player
    latents = synthesizer.latents(11, seed=5)
    labels = {"pitch": 60.5, "family": np.arange(11) % 2}
    client.play(latents[:1], {"pitch": 60, "family": 0}, duration_s=0.1)  # from now on it knows the sample rate
    asked = stand_in.asked
    played = client.play(latents, labels, duration_s=0.25)
    assert stand_in.asked - asked == 2
    np.testing.assert_allclose(played, synthesizer.play(latents, labels, duration_s=0.25), atol=1e-6)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"labels": {"pitch": 128}}, "`pitch` must be from 0 to 127. Received: 128 to 128."),
        (
            {"labels": {"pitch": np.arange(60, 63)}},
            "`pitch` must be a number, or one for each latent, and finite. Received: [60 61",
        ),
        ({"labels": {"pitch": 126.5}}, "`pitch` must be below half the sample rate, 8000 Hz. Received: 126.5, which is 12,"),
        ({"duration_s": 0}, "`duration_s` must be above 0 and at most 60. Received: 0."),
        ({"duration_s": 60.1}, "`duration_s` must be above 0 and at most 60. Received: 60.1."),
        (
            {"bend_semitones": [0, np.nan]},
            "`bend_semitones` must be (points,) or (latents, points) numbers, and finite. Received",
        ),
        ({"bend_semitones": np.zeros((3, 4))}, "`bend_semitones` must be (points,) or (latents, points) numbers, and finite."),
        ({"labels": {"family": 7}}, "`family` must be one of bass, flute. Received:"),
        ({"latents": np.zeros((2, 8)), "count": 2}, "`count` cannot be combined with latents. Received: count=2."),
    ],
)
def test_notes_that_are_refused_by_it_as_by_the_model(player, asked, message):
    client, synthesizer, _ = player
    asked = {"count": 2} | asked if "latents" not in asked else asked
    for maker in (client, synthesizer):
        with pytest.raises(InputError) as raised:
            maker.play(**asked)
        assert message in str(raised.value)


def test_a_model_that_plays_no_notes_is_said(notes):
    client, synthesizer, _ = notes
    for maker in (client, synthesizer):
        with pytest.raises(
            InputError, match="need a generator over --repr harmonic. Received: a generator over another representation"
        ):
            maker.play(duration_s=1)


def test_it_writes_wav_files_of_another_rate(player, tmp_path):
    client, synthesizer, _ = player
    asked = {"count": 1, "seed": 3, "labels": {"pitch": 60, "family": 1}, "sample_rate_hz": 44100}
    files = [maker.write_wavs(tmp_path / name, **asked)[0] for name, maker in (("client", client), ("here", synthesizer))]
    (audio, rate_hz), (expected, _) = map(soundfile.read, files)
    assert (rate_hz, len(audio)) == (44100, round(8192 / 16000 * 44100))
    np.testing.assert_allclose(audio, expected, atol=1e-4)
    with pytest.raises(InputError, match="integer from 1 to 384,000. Received: 0."):
        client.write_wavs(tmp_path / "none", sample_rate_hz=0)
    assert not (tmp_path / "none").exists()


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
    with pytest.raises(InputError, match="cannot be combined with latents. Received: count=2"):
        client.generate(np.zeros((2, 8)), count=2)
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


def test_the_page_s_lines(served, tmp_path, monkeypatch):
    stand_in, synthesizer = served
    page = (Path(__file__).parents[2] / "kgan/docs/pages/serving.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code.replace('"http://localhost:8501"', f'"{stand_in.rest}", model="drums"'), names)
    np.testing.assert_allclose(names["sounds"], synthesizer.generate(synthesizer.latents(4, seed=7)), atol=1e-6)
    assert len(list((tmp_path / "served_sounds").iterdir())) == 4
