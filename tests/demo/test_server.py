import io
import socket
import threading
from urllib.parse import unquote

import numpy as np
import pytest
import requests
import soundfile

from kgan.cli import main
from kgan.data.sounds import Sounds, to_int16
from kgan.demo import Instrument, Timbre, serve
from kgan.errors import InputError

SOUND = "/sound.wav?seeds=1,2,3,4&x=0.25&y=1&label.pitch=60&label.family=2"


@pytest.fixture(scope="module")
def instrument(conditional):
    return Instrument(conditional[0])


def served(instrument):
    """Serve an instrument in a thread that ends with the tests, and return the page's address."""
    addresses, there = [], threading.Event()

    def ready(address):
        addresses.append(address)
        there.set()

    threading.Thread(target=serve, args=(instrument, "tiny", "127.0.0.1", 0, ready), daemon=True).start()
    assert there.wait(30)
    return addresses[0]


@pytest.fixture(scope="module")
def address(instrument):
    return served(instrument)


def test_the_model_is_described(address):
    model = requests.get(address + "/model.json", timeout=10).json()
    assert (model["name"], model["step"], model["sample_rate_hz"]) == ("tiny", 0, 16000)
    assert model["labels"] == {"pitch": [[60, "60"], [62, "62"], [64, "64"]], "family": [[0, "bass"], [2, "flute"]]}
    assert model["sliders"] == [["darker", "brighter"]]
    assert (model["clip_s"], model["note"]) == (64 / 16000, None)


def test_a_sound_is_what_the_instrument_plays(address, instrument):
    answer = requests.get(address + SOUND + "&sliders=-1.5", timeout=10)
    assert answer.headers["content-type"] == "audio/wav"
    audio, rate_hz = soundfile.read(io.BytesIO(answer.content))
    assert rate_hz == 16000
    expected = instrument.play(Timbre((1, 2, 3, 4), 0.25, 1.0, (-1.5,)), {"pitch": 60, "family": 2})
    np.testing.assert_allclose(audio, expected, atol=1 / 32767)
    assert np.abs(audio).max() > 0.001


def test_a_generator_that_plays_has_notes_to_hold(playing):
    instrument = Instrument(playing)
    address = served(instrument)
    model = requests.get(address + "/model.json", timeout=10).json()
    assert model["note"] == {"duration_s": 8, "release_s": 0.128}  # a quarter of 0.512 s
    query = "/sound.wav?seeds=1,2,3,4&x=0.5&label.pitch=60&label.family=1"
    audio, _ = soundfile.read(io.BytesIO(requests.get(f"{address}{query}&duration=8", timeout=10).content))
    expected = instrument.play(Timbre((1, 2, 3, 4), 0.5), {"pitch": 60, "family": 1}, duration_s=8)
    assert audio.shape == expected.shape == (8 * 16000,)
    np.testing.assert_allclose(audio, expected, atol=1 / 32767)
    latents = instrument.latent(Timbre((1, 2, 3, 4), 0.5))[None]
    np.testing.assert_allclose(expected, playing.play(latents, {"pitch": 60, "family": 1}, duration_s=8)[0])
    assert len(soundfile.read(io.BytesIO(requests.get(address + query, timeout=10).content))[0]) == 8192  # a clip


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/sound.wav", "A seed must be an integer from 0 to 4294967295. Received: ."),
        ("/sound.wav?seeds=1,2,3", "`seeds` must be 4 integers. Received: 3."),
        ("/sound.wav?seeds=1,2,3,-4", "A seed must be an integer from 0 to 4294967295. Received: -4."),
        ("/sound.wav?seeds=1,2,3,4&x=nan", "`x` must be a number from 0 to 1. Received: nan."),
        ("/sound.wav?seeds=1,2,3,4&sliders=9", "A slider must be a number from -3.0 to 3.0. Received: 9."),
        ("/sound.wav?seeds=1,2,3,4&sliders=0,0", "There are 1 sliders. Received: 2."),
        ("/sound.wav?seeds=1,2,3,4&label.pitch=61", "`pitch` must be one of 60, 62, 64. Received: 61."),
        ("/sound.wav?seeds=1,2,3,4&label.family=a", "`label.family` must be an integer from 0 to 2147483647. Received: a."),
        ("/sound.wav?seeds=1,2,3,4&duration=61", "`duration` must be a number from 0 to 60. Received: 61."),
        (
            "/sound.wav?seeds=1,2,3,4&duration=1",
            "Notes of any pitch and duration need a generator over --repr harmonic."
            " Received: a generator over another representation.",
        ),
        ("/real.wav?label.pitch=60", "The real sounds are still being loaded."),
    ],
)
def test_what_cannot_be_had_is_refused_in_words(address, path, reason):
    answer = requests.get(address + path, timeout=10)
    assert (answer.status_code, answer.text) == (400, reason)


def test_real_sounds(conditional):
    instrument = Instrument(conditional[0])
    clip = np.linspace(-0.5, 0.5, 64)
    instrument.real = Sounds(to_int16(clip[np.newaxis]), 16000, ["flûte"], {"pitch": np.array([60])}, {})
    answer = requests.get(served(instrument) + "/real.wav?label.pitch=60", timeout=10)
    assert unquote(answer.headers["x-name"]) == "flûte"
    np.testing.assert_allclose(soundfile.read(io.BytesIO(answer.content))[0], clip, atol=1e-4)


def test_the_page_is_all_from_here(address):
    page = requests.get(address + "/", timeout=10)
    assert page.headers["content-security-policy"] == "default-src 'self'"
    assert page.headers["cache-control"] == "no-store"
    for name in ("page.js", "draw.js", "keyboard.js", "sequencer.js", "sounds.js", "wheel.js", "page.css", "icon.svg"):
        answer = requests.get(f"{address}/{name}", timeout=10)
        assert answer.status_code == 200
        assert "https://" not in answer.text
    assert requests.post(address + "/sound.wav", data=b"x", timeout=10).status_code == 405


def test_other_names_of_the_host_are_refused(address):
    assert requests.get(address + "/model.json", headers={"host": "elsewhere.example"}, timeout=10).status_code == 400


def test_heads_are_limited_and_paths_stay_in_the_page(address):
    port = int(address.rpartition(":")[2])

    def asked(target):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            return connection.makefile("rb").readline()

    assert b" 200 " in asked(SOUND)
    assert b" 400 " in asked("/model.json?" + "x" * 300_000)
    assert b" 404 " in asked("/../server.py")


def test_a_taken_port_is_said(address, instrument):
    port = int(address.rpartition(":")[2])
    with pytest.raises(InputError, match=f"a free port. Received: 127.0.0.1, {port} "):
        serve(instrument, "tiny", "127.0.0.1", port, print)


def test_without_the_extra_the_command_says_so(monkeypatch, capsys):
    monkeypatch.setattr("kgan.commands.find_spec", lambda name: None)
    assert main(["demo", "saved_models/notes_fast"]) == 2
    assert 'pip install -e ".[demo]"' in capsys.readouterr().err
