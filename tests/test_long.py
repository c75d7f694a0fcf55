"""What takes minutes, or prints figures. Run with `python -m pytest -m long -s`."""

import csv
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import tensorflow as tf

from kgan.audio.pictures import log_spectrogram
from kgan.audio.pitch import estimate_pitch
from kgan.benchmarks.serve import benchmark_serve
from kgan.cli import main
from kgan.config import load_config
from kgan.data.notes import load_notes
from kgan.representations import LogSpec, MelIF, Spec, Wave
from kgan.serving.formats import write_formats
from kgan.serving.saved_model import SavedSynthesizer, export_saved_model
from kgan.synthesizer import GANSynthesizer
from kgan.training.build import build_gan, build_representation
from tests.serving.test_saved_model import config_yaml

NOISE_HARMONICITY = 0.1  # of the estimator on white noise


@pytest.mark.long
@pytest.mark.parametrize("model", ["wgan_gp", "wgan", "dcgan"])
def test_ten_minutes_on_the_notes(tmp_path, monkeypatch, notes_cache, model):
    monkeypatch.setenv("KGAN_CACHE", str(notes_cache))
    began_s = time.monotonic()
    assert main(["train", "--model", model, "--run", str(tmp_path), "--size", "small"]) == 0
    assert time.monotonic() - began_s < 13 * 60
    synthesizer = SavedSynthesizer(tmp_path / "saved_model")
    audio = synthesizer.generate(synthesizer.latents(64))
    assert np.abs(audio).max() > 0.1
    if model == "wgan_gp":
        assert np.median(estimate_pitch(audio, 16000).harmonicity) > 3 * NOISE_HARMONICITY


@pytest.mark.long
def test_round_trips_of_500_notes(notes_cache):
    sounds = load_notes(cache_dir=notes_cache)
    notes = sounds.waveforms(np.linspace(0, len(sounds) - 1, 500).astype(int))
    real = estimate_pitch(notes, 16000)
    pitched = real.harmonicity > 0.9
    spectra = np.stack([log_spectrogram(clip) for clip in notes])
    print("\n| | SNR, dB | spectral convergence | log-spectral distance, dB | pitch within 20 cents | median error, cents |")
    figures = {}
    for name, representation in {
        "spec": Spec(),
        "logspec": LogSpec(),
        "melif": MelIF(),
        "melif, 2048/512": MelIF(fft_samples=2048, hop_samples=512),
    }.items():
        representation.adapt(sounds.batches())
        decoded = np.concatenate([representation.decode(representation.encode(half)) for half in np.split(notes, 2)])
        made = np.stack([log_spectrogram(clip) for clip in decoded])
        snr_db = 10 * np.log10(np.square(notes).sum(axis=1) / np.square(decoded - notes).sum(axis=1))
        power, made_power = 10 ** (spectra / 20), 10 ** (made / 20)
        convergence = np.linalg.norm(made_power - power, axis=(1, 2)) / np.linalg.norm(power, axis=(1, 2))
        distance_db = np.sqrt(np.square(made - spectra).mean(axis=1)).mean(axis=1)
        cents = 1200 * np.abs(np.log2(estimate_pitch(decoded, 16000).frequency_hz / real.frequency_hz))[pitched]
        within = np.mean(cents < 20)
        figures[name] = (np.min(snr_db), np.median(convergence), within)
        print(
            f"| {name} | {np.median(snr_db):.1f}, at least {np.min(snr_db):.1f} | {np.median(convergence):.4f} |"
            f" {np.median(distance_db):.2f} | {within:.1%} of {pitched.sum()} | {np.nanmedian(cents):.2f} |"
        )
    assert figures["spec"][0] > 110
    assert figures["melif"][1] < 0.05
    assert min(within for name, (_, _, within) in figures.items() if name != "logspec") >= 0.98


SPEED = """
import os
os.sched_setaffinity(0, {0})
import time
import numpy as np
import tensorflow as tf
from kgan.representations import LogSpec
audio = tf.random.stateless_uniform((8, 16384), (0, 0), -1.0, 1.0)
logspec = LogSpec()
logspec.adapt([audio])
decode = tf.function(logspec.decode)
x = logspec.encode(audio)[:1]
times_s = []
for _ in range(21):
    began_s = time.perf_counter()
    decode(x).numpy()
    times_s.append(time.perf_counter() - began_s)
print(16384 / 16000 / np.median(times_s))
"""


@pytest.mark.long
def test_griffin_lim_on_one_core_is_fifty_times_as_fast_as_the_sound():
    output = subprocess.run([sys.executable, "-c", SPEED], check=True, capture_output=True, text=True).stdout
    print(f"\nLogSpec.decode of one clip, 32 iterations, one core: {float(output):.0f} times real time")
    assert float(output) > 50


@pytest.mark.long
@pytest.mark.parametrize("name", ["spec", "logspec", "melif"])
def test_encoding_is_a_tenth_of_an_iteration(tmp_path, monkeypatch, notes_cache, name):
    monkeypatch.setenv("KGAN_CACHE", str(notes_cache))
    # Five critic steps of 64 are the 320 clips that an iteration encodes.
    options = ["--repr", name, "--size", "small", "--training.batch_size", "64", "--steps", "15", "--training.log_steps", "5"]
    assert main(["train", "--run", str(tmp_path), *options]) == 0
    rows = list(csv.DictReader((tmp_path / "history.csv").open()))
    iteration_s = 1 / float(rows[-1]["iterations_per_second"])
    representation = {"spec": Spec, "logspec": LogSpec, "melif": MelIF}[name]()
    audio = tf.constant(load_notes(cache_dir=notes_cache).waveforms(slice(320)))
    representation.adapt([audio])
    encode = tf.function(representation.encode)
    times_s = []
    for _ in range(11):
        began_s = time.perf_counter()
        encode(audio)
        times_s.append(time.perf_counter() - began_s)
    encode_s = np.median(times_s)
    print(f"\n{name}: iteration {iteration_s:.2f} s, encoding of 320 clips {encode_s:.3f} s: {encode_s / iteration_s:.1%}")
    assert encode_s < 0.1 * iteration_s


@pytest.mark.long
@pytest.mark.parametrize("transport", [0, 1], ids=["rest", "grpc"])
def test_eight_clients_for_a_minute(tmp_path, transport):
    """Of the small size of wave networks. Prints throughput and latencies; no error, and memory does not grow."""
    gan = build_gan(load_config({"model": "wgan_gp", "size": "small", "training.precision": "float32"}), Wave())
    export_saved_model(GANSynthesizer(gan, Wave(), 16000), config_yaml("normal"), tmp_path / "kgan")
    program = [sys.executable, "tests/serving/stand_in.py", str(tmp_path / "kgan"), "kgan"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stand_in:
        address = stand_in.stdout.readline().split()[transport]
        process, memory_mib = psutil.Process(stand_in.pid), []
        for seconds in (10, 60):
            figures = benchmark_serve(address, seconds=seconds)
            memory_mib.append(process.memory_info().rss / 2**20)
            assert figures["errors"] == 0
        stand_in.stdin.close()
    print(f"The server's memory after 10 and 70 s: {memory_mib[0]:.0f} and {memory_mib[1]:.0f} MiB")
    assert figures["requests"] > 500
    assert memory_mib[1] - memory_mib[0] < 30


@pytest.mark.long
@pytest.mark.parametrize("name", ["wave", "spec", "logspec", "melif"])
def test_size_load_time_and_latency_of_every_format(tmp_path, notes_cache, name):
    """Prints them, for initial weights of the small size, with the largest difference from the SavedModel's sounds."""
    told = {"model": "wgan_gp", "repr": name, "size": "small", "training.precision": "float32", "data.source": "notes"}
    config = load_config(told)
    representation = build_representation(config)
    if name in ("logspec", "melif"):
        representation.adapt([load_notes(cache_dir=notes_cache).waveforms(range(200))])
    synthesizer = GANSynthesizer(build_gan(config, representation), representation, 16000)
    version = export_saved_model(synthesizer, config.to_yaml(), tmp_path / "kgan")
    write_formats(synthesizer, version, "kgan", ["onnx", "litert"])
    latents = synthesizer.latents(1)
    expected = synthesizer.generate(latents)
    print()
    for label, load in LOADERS.items():
        for file in [version] if label in ("SavedModel", "OpenVINO") else sorted(version.glob(f"*.{SUFFIXES[label]}")):
            began_s = time.perf_counter()
            run = load(str(file))
            audio = run(latents)
            first_s, times_s = time.perf_counter() - began_s, []
            for _ in range(20):
                began_s = time.perf_counter()
                run(latents)
                times_s.append(time.perf_counter() - began_s)
            files = [file] if file.is_file() else [version / "saved_model.pb", *version.glob("variables/*")]
            size_mib = sum(each.stat().st_size for each in files) / 2**20
            difference = np.abs(audio - expected).max() / np.abs(expected).max()
            figures = f"{size_mib:.1f} MiB | {first_s:.2f} s | {1000 * np.median(times_s):.1f} ms | {difference:.0e}"
            print(f"| {name} | {label} {file.name} | {figures} |")
            assert np.isfinite(difference)


def _load_saved_model(path):
    model = tf.saved_model.load(path).signatures["serving_default"]
    return lambda latents: model(latents=tf.constant(latents))["audio"].numpy()


def _load_openvino(path):
    core = pytest.importorskip("openvino").Core()
    model = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda latents: model({"latents": latents})[0]


def _load_onnx(path):
    session = pytest.importorskip("onnxruntime").InferenceSession(path)
    return lambda latents: session.run(None, {"latents": latents})[0]


def _load_litert(path):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(path)
    interpreter.allocate_tensors()
    taken, given = (side()[0]["index"] for side in (interpreter.get_input_details, interpreter.get_output_details))

    def run(latents):
        interpreter.set_tensor(taken, latents)
        interpreter.invoke()
        return interpreter.get_tensor(given)

    return run


LOADERS = {"SavedModel": _load_saved_model, "OpenVINO": _load_openvino, "ONNX": _load_onnx, "LiteRT": _load_litert}
SUFFIXES = {"ONNX": "onnx", "LiteRT": "tflite"}


@pytest.mark.long
def test_a_million_sounds_take_no_more_memory_than_a_thousand(tmp_path):
    code = (
        "import sys; from kgan.benchmarks.memory import peak_mib; from kgan.cli import main;"
        "main(['generate', 'saved_models/notes_wgan_gp_wave', '--count', sys.argv[1], '--out', 'shards:' + sys.argv[2]]);"
        "print(peak_mib())"
    )
    peaks = []
    for count in (2_000, 60_000):
        command = [sys.executable, "-c", code, str(count), str(tmp_path / str(count))]
        peaks.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]))
    print(f"\nPeak: {peaks[0]:.0f} MiB of 2,000 sounds, {peaks[1]:.0f} MiB of 60,000")
    assert peaks[1] < peaks[0] + 20
