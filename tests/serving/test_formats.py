import keras
import numpy as np
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter

from kgan.cli import main
from kgan.errors import InputError
from kgan.gans import WGANGP
from kgan.networks import spectrogram_critic, spectrogram_generator, wave_critic, wave_generator
from kgan.representations import LogSpec, MelIF, Spec, Wave
from kgan.serving import formats
from kgan.serving.formats import check_formats, write_formats
from kgan.serving.saved_model import export_saved_model
from kgan.synthesizer import GANSynthesizer
from tests.serving.test_saved_model import config_yaml

LENGTH = 2048
# Griffin-Lim's phases start at peaks of the picture, and a peak is one bin or the next: rounding is heard, 40 dB below.
BOUNDS = {Wave: 1e-5, Spec: 1e-5, LogSpec: 1e-2, MelIF: 1e-3}


@pytest.fixture(
    params=[Wave, Spec, pytest.param(LogSpec, marks=pytest.mark.long), MelIF], ids=lambda each: each.__name__.lower()
)
def synthesizer(request, make_gan, tiny_sounds):
    if request.param is Wave:
        return GANSynthesizer(make_gan(length=LENGTH), Wave(LENGTH), 16000)
    options = {"fft_samples": 64, "hop_samples": 32} if request.param is not MelIF else {"fft_samples": 256, "hop_samples": 64}
    representation = request.param(LENGTH, **options)
    if hasattr(representation, "adapt"):
        waves = tiny_sounds.waveforms(np.arange(len(tiny_sounds)))
        representation.adapt([np.concatenate([waves, waves], axis=1) + 1e-3 * np.cos(np.arange(LENGTH))])
    keras.utils.set_random_seed(1)
    shape = representation.example_shape
    gan = WGANGP(spectrogram_generator(shape, dim=2, latent_dim=8), spectrogram_critic(shape, dim=2))
    gan.compile("adam", "adam")
    return GANSynthesizer(gan, representation, 16000)


def largest_difference(audio, expected):
    return np.abs(audio - expected).max() / np.abs(expected).max()


def test_every_file_makes_the_synthesizer_s_sounds(synthesizer, tmp_path):
    bound = BOUNDS[type(synthesizer.representation)]
    conversions = {each.file: each for each in write_formats(synthesizer, tmp_path, "drums", ["onnx", "litert"])}
    assert list(conversions) == ["drums.onnx", "drums_float16.onnx", "drums.tflite", "drums_float16.tflite"]
    kept = [name for name, each in conversions.items() if each.refusal is None]
    assert {"drums.onnx", "drums.tflite"} <= set(kept)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    for count in (1, 5):
        latents = synthesizer.latents(count, seed=3)
        expected = synthesizer.generate(latents)
        for name, run in (("drums.onnx", formats._run_onnx), ("drums.tflite", formats._run_litert)):
            assert largest_difference(run((tmp_path / name).read_bytes(), {"latents": latents}), expected) < bound, name
    if isinstance(synthesizer.representation, (Wave, Spec)):
        assert len(kept) == 4
        for suffix in ("onnx", "tflite"):
            sizes = [conversions[f"drums{precision}.{suffix}"].size_bytes for precision in ("", "_float16")]
            assert (tmp_path / f"drums.{suffix}").stat().st_size == sizes[0]
            assert sizes[0] - sizes[1] > 1.5 * synthesizer.parameters  # two of four bytes, but for biases and the way back


def test_openvino_reads_the_saved_model(synthesizer, tmp_path):
    """A consumer that shares no code with TensorFlow."""
    openvino = pytest.importorskip("openvino")
    version = export_saved_model(synthesizer, config_yaml("normal"), tmp_path / "drums")
    core = openvino.Core()
    model = core.compile_model(core.read_model(version), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    latents = synthesizer.latents(3, seed=3)
    expected = synthesizer.generate(latents)
    audio = model({"latents": latents})[0]
    assert largest_difference(audio, expected) < BOUNDS[type(synthesizer.representation)]


def test_what_makes_other_sounds_is_refused_and_the_rest_kept(make_gan, tmp_path, monkeypatch):
    synthesizer = GANSynthesizer(make_gan(), Wave(), 16000)
    suffix, packages, convert, run = formats.FORMATS["onnx"]

    def louder(model, inputs):
        return run(model, inputs) * 1.03

    def without(model, inputs):
        return np.full_like(run(model, inputs), np.nan)

    def failing(synthesizer, half):
        raise RuntimeError("operation X is\nunknown")

    monkeypatch.setitem(formats.FORMATS, "louder", (suffix, packages, convert, louder))
    monkeypatch.setitem(formats.FORMATS, "silent", (suffix, packages, convert, without))
    monkeypatch.setitem(formats.FORMATS, "failing", (suffix, packages, failing, run))
    conversions = write_formats(synthesizer, tmp_path, "drums", ["louder", "silent", "failing"])
    expected = ["differ from the run's by 3%"] * 2 + ["not finite"] * 2 + ["operation X is unknown"] * 2
    for conversion, reason in zip(conversions, expected, strict=True):
        assert reason in conversion.refusal
    assert not list(tmp_path.iterdir())


def test_silence_is_a_sound(make_gan, tmp_path):
    gan = make_gan()
    gan.generator.set_weights([np.zeros_like(weight) for weight in gan.generator.get_weights()])
    conversions = write_formats(GANSynthesizer(gan, Wave(), 16000), tmp_path, "drums", ["onnx"])
    assert [(each.difference, each.refusal) for each in conversions] == [(0.0, None)] * 2


def test_stereo(tmp_path):
    gan = WGANGP(wave_generator(512, channels=2, dim=2, latent_dim=8), wave_critic(512, channels=2, dim=2))
    gan.compile("adam", "adam")
    synthesizer = GANSynthesizer(gan, Wave(512, 2), 16000)
    assert not any(each.refusal for each in write_formats(synthesizer, tmp_path, "drums", ["onnx", "litert"]))
    latents = synthesizer.latents(3)
    audio = formats._run_onnx((tmp_path / "drums.onnx").read_bytes(), {"latents": latents})
    np.testing.assert_allclose(audio, synthesizer.generate(latents), atol=1e-6)
    assert audio.shape == (3, 512, 2)


def test_the_command_says_what_was_kept_and_what_was_not(finished_run, tmp_path, monkeypatch, capsys):
    (tmp_path / "drums").mkdir()
    monkeypatch.chdir(tmp_path / "drums")  # the model's name is the folder's, also of "."
    assert main(["export", str(finished_run), ".", "--format", "savedmodel, onnx,onnx,"]) == 0
    assert {path.name for path in (tmp_path / "drums" / "1").glob("*.onnx")} == {"drums.onnx", "drums_float16.onnx"}
    assert (tmp_path / "drums" / "1" / "MODEL_CARD.md").read_text().startswith("# drums\n")
    assert "drums.onnx, 0." in capsys.readouterr().out
    suffix, packages, convert, run = formats.FORMATS["onnx"]
    monkeypatch.setitem(formats.FORMATS, "onnx", (suffix, packages, convert, lambda *asked: 2 * run(*asked)))
    assert main(["export", str(finished_run), ".", "--format", "onnx"]) == 1
    assert "drums.onnx was not kept: its sounds differ from the run's by 100%" in capsys.readouterr().out
    assert not list((tmp_path / "drums" / "2").glob("*.onnx"))
    assert main(["export", str(finished_run), ".", "--format", "tflit"]) == 2
    assert not (tmp_path / "drums" / "3").exists()


def test_names_and_shapes_of_what_a_file_takes_and_gives(make_gan, tmp_path):
    synthesizer = GANSynthesizer(make_gan(), Wave(), 16000)
    write_formats(synthesizer, tmp_path, "drums", ["onnx", "litert"])
    session = onnxruntime.InferenceSession(tmp_path / "drums.onnx")
    ((audio,),) = [session.run(["audio"], {"latents": synthesizer.latents(1)})]
    interpreter = Interpreter(str(tmp_path / "drums.tflite"))
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["latents"], "outputs": ["audio"]}}
    runner = interpreter.get_signature_runner()
    np.testing.assert_allclose(runner(latents=synthesizer.latents(1))["audio"], audio, atol=1e-6)


def test_formats_are_checked_before_any_work(monkeypatch):
    with pytest.raises(InputError, match="Unknown format `onx`. Did you mean `onnx`"):
        check_formats(["litert", "onx"])
    monkeypatch.setitem(formats.FORMATS, "onnx", ("onnx", ("numpy", "no_such_package"), None, None))
    with pytest.raises(InputError, match=r"pip install \"kgan\[onnx\]\". Received: an installation without no_such_package"):
        check_formats(["onnx"])


def test_files_of_a_conditional_model_take_its_labels(conditional, tmp_path):
    synthesizer, _ = conditional
    conversions = write_formats(synthesizer, tmp_path, "notes", ["onnx", "litert"])
    assert not any(each.refusal for each in conversions)
    session = onnxruntime.InferenceSession(tmp_path / "notes.onnx")
    taken = {each.name: (each.type, len(each.shape)) for each in session.get_inputs()}
    assert taken == {"latents": ("tensor(float)", 2), "pitch": ("tensor(int32)", 1), "family": ("tensor(int32)", 1)}
    signature = Interpreter(str(tmp_path / "notes.tflite")).get_signature_list()["serving_default"]
    assert sorted(signature["inputs"]) == ["family", "latents", "pitch"]
    for count in (1, 3):
        latents = synthesizer.latents(count, seed=3)
        labels = {"pitch": np.int32([64, 60, 62])[:count], "family": np.int32([0, 2, 0])[:count]}
        expected = synthesizer.generate(latents, labels)
        for name, run in (("notes.onnx", formats._run_onnx), ("notes.tflite", formats._run_litert)):
            model = (tmp_path / name).read_bytes()
            assert largest_difference(run(model, {"latents": latents, **labels}), expected) < 1e-5, name
            others = run(model, {"latents": latents, **labels, "pitch": np.full(count, 60, np.int32)})
            assert (np.abs(others - expected).max(axis=1) > 1e-3).tolist() == [True, False, True][:count], name
