import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf
import yaml
from tensorflow.core.protobuf import saved_model_pb2

from kgan.errors import InputError
from kgan.gans import DCGAN, WGANGP
from kgan.labels import Labels
from kgan.networks import wave_critic, wave_generator
from kgan.representations import Wave
from kgan.serving.saved_model import SavedSynthesizer, export_saved_model
from kgan.synthesizer import GANSynthesizer

BARE_PROCESS = """
import sys
import numpy as np
import tensorflow as tf

model = tf.saved_model.load(sys.argv[1])
latents = tf.constant(np.load(sys.argv[2]))
three = model.signatures["sample"](count=tf.constant(3), seed=tf.constant(7, tf.int64))
five = model.signatures["sample"](count=tf.constant(5), seed=tf.constant(7, tf.int64))
np.savez(
    sys.argv[3],
    audio=model.signatures["serving_default"](latents=latents)["audio"],
    wav=model.signatures["wav"](latents=latents)["wav_bytes"].numpy(),
    three=three["audio"], five=five["audio"], five_latents=five["latents"],
)
assert "kgan" not in sys.modules
"""


def config_yaml(distribution, length_samples=1024):
    values = {
        "model": "wgan_gp",
        "repr": "wave",
        "seed": 3,
        "data": {"sample_rate_hz": 16000, "length_samples": length_samples, "channels": 1, "source": "notes"},
        "network": {"latent_dim": 8, "dim": 2},
        "gan": {"latent_distribution": distribution},
        "training": {"batch_size": 4},
    }
    return yaml.safe_dump(values)


def exported(gan, folder):
    synthesizer = GANSynthesizer(gan, Wave(), 16000)
    return synthesizer, export_saved_model(synthesizer, config_yaml(gan.latent_distribution), folder)


@pytest.mark.parametrize(
    ("gan_class", "dtype"),
    [(DCGAN, "float32"), pytest.param(WGANGP, "mixed_bfloat16", marks=pytest.mark.long)],
    ids=["uniform", "normal-bfloat16"],
)
def test_every_signature_in_a_process_without_kgan(make_gan, tmp_path, gan_class, dtype):
    synthesizer, version = exported(make_gan(gan_class, dtype=dtype), tmp_path / "name")
    latents = synthesizer.latents(5, seed=7)
    np.save(tmp_path / "latents.npy", latents)
    files = [str(version), str(tmp_path / "latents.npy"), str(tmp_path / "results.npz")]
    subprocess.run([sys.executable, "-c", BARE_PROCESS, *files], check=True, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"})
    results = np.load(tmp_path / "results.npz", allow_pickle=True)
    expected = synthesizer.generate(latents)
    np.testing.assert_allclose(results["audio"], expected, atol=1e-6)
    np.testing.assert_allclose(results["five_latents"], latents, atol=1e-6)
    np.testing.assert_allclose(results["five"], expected, atol=1e-6)
    np.testing.assert_allclose(results["three"], results["five"][:3], atol=1e-6)
    for wav, wave in zip(results["wav"], expected, strict=True):
        read, rate_hz = soundfile.read(io.BytesIO(wav))
        assert rate_hz == 16000
        assert np.abs(read - wave).max() <= 1 / 32767


def test_versions_count_up_and_the_highest_is_read(make_gan, tmp_path):
    _, first = exported(make_gan(seed=1), tmp_path)
    before = (first / "saved_model.pb").read_bytes()
    second_synthesizer, second = exported(make_gan(length=2048), tmp_path)
    assert [first.name, second.name] == ["1", "2"]
    assert (first / "saved_model.pb").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]
    latents = second_synthesizer.latents(2)
    assert SavedSynthesizer(tmp_path).generate(latents).shape == (2, 2048)
    assert SavedSynthesizer(first).generate(latents).shape == (2, 1024)


def test_read_back_it_is_the_same_synthesizer(make_gan, tmp_path):
    synthesizer, _ = exported(make_gan(DCGAN), tmp_path)
    saved = SavedSynthesizer(tmp_path)
    assert (saved.latent_dim, saved.latent_distribution, saved.sample_rate_hz) == (8, "uniform", 16000)
    np.testing.assert_array_equal(saved.latents(3, seed=5), synthesizer.latents(3, seed=5))
    np.testing.assert_allclose(saved.generate(saved.latents(3)), synthesizer.generate(saved.latents(3)), atol=1e-6)


def test_what_is_not_ours_is_refused(make_gan, tmp_path):
    with pytest.raises(InputError, match="no run and no SavedModel in .*nothing"):
        SavedSynthesizer(tmp_path / "nothing")
    module = tf.Module()
    module.double = tf.function(lambda x: 2 * x, input_signature=[tf.TensorSpec([], tf.float32)])
    tf.saved_model.save(module, str(tmp_path / "foreign"))
    with pytest.raises(
        InputError, match=r"must be one that kgan exported. Received: .*config.yaml or .*generator.yaml is missing"
    ):
        SavedSynthesizer(tmp_path / "foreign")
    (tmp_path / "foreign" / "assets" / "config.yaml").write_text(config_yaml("normal"))
    (tmp_path / "foreign" / "assets" / "generator.yaml").write_text("step: 6\nlabels: {}\n")
    with pytest.raises(InputError, match="lacks the signatures sample, wav"):
        SavedSynthesizer(tmp_path / "foreign")
    _, version = exported(make_gan(), tmp_path / "damaged")
    (version / "saved_model.pb").write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match="must be one that kgan exported"):
        SavedSynthesizer(version)


def test_every_weight_is_stored_once(make_gan, tmp_path):
    synthesizer, version = exported(make_gan(), tmp_path / "name")
    stored = sum(
        weight.shape.num_elements() for weight in synthesizer.generator.weights
    )  # kernels are folded, with padded taps
    (data,) = version.glob("variables/*.data-*")
    assert 4 * stored < data.stat().st_size < 4 * stored + 2000


def test_a_folder_that_cannot_be_written(make_gan, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="folder that can be written. Received: .*file/name"):
        exported(make_gan(), tmp_path / "file" / "name")


def test_the_c_library_that_the_server_uses_runs_every_signature(make_gan, tmp_path):
    """Loaded in a process without Python's TensorFlow, by batches of 1 to 256."""
    synthesizer, version = exported(make_gan(), tmp_path / "name")
    signatures = read_signatures(version)
    latents = synthesizer.latents(256, seed=7)
    audio = synthesizer.generate(latents)

    def run(signature, output, **inputs):
        result = run_in_c(signatures[signature], version, output, inputs, tmp_path)
        assert result.returncode == 0, result.stderr
        return np.load(tmp_path / "output.npy", allow_pickle=True)

    for count in (1, 3, 256):
        np.testing.assert_allclose(run("serving_default", "audio", latents=latents[:count]), audio[:count], atol=1e-6)
    scalars = {"count": np.array(3, np.int32), "seed": np.array(7, np.int64)}
    np.testing.assert_allclose(run("sample", "audio", **scalars), audio[:3], atol=1e-6)
    np.testing.assert_allclose(run("sample", "latents", **scalars), latents[:3], atol=1e-6)
    for wav, expected in zip(run("wav", "wav_bytes", latents=latents[:3]), audio, strict=False):
        decoded, rate_hz = soundfile.read(io.BytesIO(wav), dtype="int16")
        assert rate_hz == 16000
        np.testing.assert_allclose(decoded, expected * 32768, atol=1)


BAD = {
    "no latents": ("serving_default", {"latents": np.zeros((0, 8), np.float32)}, "1 to 256 sounds. Received:] \\[0\\]"),
    "too many": ("wav", {"latents": np.zeros((257, 8), np.float32)}, "1 to 256 sounds. Received:] \\[257\\]"),
    "NaN": ("serving_default", {"latents": np.full((2, 8), np.nan, np.float32)}, "Latents must be finite"),
    "infinity": ("wav", {"latents": np.full((2, 8), np.inf, np.float32)}, "Latents must be finite"),
    "narrow": ("serving_default", {"latents": np.zeros((2, 7), np.float32)}, "\\[2,7\\] is not compatible.* \\[\\?,8\\]"),
    "flat": ("serving_default", {"latents": np.zeros(8, np.float32)}, "\\[8\\] is not compatible.* \\[\\?,8\\]"),
    "a million": ("sample", {"count": np.array(10**6, np.int32), "seed": np.array(0, np.int64)}, "1 to 256.*1000000"),
    "none": ("sample", {"count": np.array(0, np.int32), "seed": np.array(0, np.int64)}, "1 to 256 sounds. Received:] \\[0\\]"),
    "minus one": ("sample", {"count": np.array(-1, np.int32), "seed": np.array(0, np.int64)}, "1 to 256.*-1"),
}


def test_the_graph_itself_refuses_bad_requests(make_gan, tmp_path):
    _, version = exported(make_gan(), tmp_path / "name")
    signatures = read_signatures(version)
    for name, (signature, inputs, message) in BAD.items():
        output = "wav_bytes" if signature == "wav" else "audio"
        result = run_in_c(signatures[signature], version, output, inputs, tmp_path)
        assert result.returncode == 1, name
        assert re.search(message, result.stderr), (name, result.stderr)


def read_signatures(version):
    """Return `{signature: ({input: tensor}, {output: tensor})}`, without loading the model."""
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((version / "saved_model.pb").read_bytes())
    return {
        name: tuple({key: info.name for key, info in side.items()} for side in (signature.inputs, signature.outputs))
        for name, signature in saved.meta_graphs[0].signature_def.items()
    }


def run_in_c(signature, version, output, inputs, folder):
    library = Path(tf.sysconfig.get_lib()) / "libtensorflow_cc.so.2"
    if not library.exists():
        pytest.skip("this platform's wheel has no such library")
    np.savez(folder / "inputs.npz", **inputs)
    tensors = [f"{signature[0][name]}={name}" for name in inputs]
    files = [library, version, folder / "inputs.npz", folder / "output.npy"]
    command = [sys.executable, Path(__file__).parent / "c_api.py", *files, *tensors, "--", signature[1][output]]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


def test_the_model_card_says_what_it_is(make_gan, tmp_path):
    gan = make_gan()
    synthesizer = GANSynthesizer(gan, Wave(), 16000)
    scores = {"inception_score": 3.25, "frechet_distance": 61.0}
    version = export_saved_model(synthesizer, config_yaml("normal"), tmp_path / "drums", sounds=6872, scores=scores)
    card = (version / "MODEL_CARD.md").read_text()
    size_bytes = sum(file.stat().st_size for file in version.rglob("*") if file.is_file() and file.name != "MODEL_CARD.md")
    parameters = f"{gan.generator.count_params():,} parameters, {size_bytes / 2**20:.1f} MiB"
    for text in (
        "# drums\n", "wgan_gp over wave, width 2", "0.06 s, 16000 Hz, mono", "notes, 6,872 sounds", "| Latents | 8, normal |",
        "| Iterations | 0, batch 4, seed 3 |", parameters,
        "TimGM6mb", "| inception_score | 3.25 |", "| frechet_distance | 61 |",
    ):  # fmt: skip
        assert text in card
    again = export_saved_model(synthesizer, config_yaml("normal"), tmp_path / "drums")
    assert "not evaluated" in (again / "MODEL_CARD.md").read_text()


def answers_to_warm_up(version):
    """Return what each signature answers to its warm-up request."""
    logs = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    model, answers = tf.saved_model.load(str(version)), {}
    for record in tf.data.TFRecordDataset(str(version / "assets.extra" / "tf_serving_warmup_requests")):
        request = logs.PredictionLog.FromString(record.numpy()).predict_log.request
        assert request.model_spec.name == version.parent.name
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        answers[request.model_spec.signature_name] = model.signatures[request.model_spec.signature_name](**inputs)
    return answers


def test_warm_up_requests_are_answered_by_the_model_itself(make_gan, tmp_path):
    answers = answers_to_warm_up(exported(make_gan(), tmp_path / "drums")[1])
    assert sorted(answers) == ["sample", "serving_default", "wav"]
    assert all(len(value) == 1 for outputs in answers.values() for value in outputs.values())


def test_labels_are_inputs_beside_the_latents(conditional_folder, conditional):
    synthesizer, _ = conditional
    signatures = tf.saved_model.load(str(conditional_folder / "1")).signatures
    specs = {name: each.structured_input_signature[1] for name, each in signatures.items()}
    for name, others, shape in (("serving_default", {"latents"}, [None]), ("wav", {"latents"}, [None])):
        assert specs[name].keys() == others | {"pitch", "family"}
        assert all(specs[name][kind].shape.as_list() == shape for kind in ("pitch", "family"))
    assert specs["sample"].keys() == {"count", "seed", "pitch", "family"}
    assert all(spec.shape.rank == 0 for spec in specs["sample"].values())
    latents = synthesizer.latents(3, seed=5)
    labels = {"pitch": np.int32([60, 64, 62]), "family": np.int32([2, 0, 2])}
    expected = synthesizer.generate(latents, labels)
    given = {name: tf.constant(values) for name, values in ({"latents": latents} | labels).items()}
    np.testing.assert_allclose(signatures["serving_default"](**given)["audio"], expected, atol=1e-6)
    for wav, wave in zip(signatures["wav"](**given)["wav_bytes"].numpy(), expected, strict=True):
        assert np.abs(soundfile.read(io.BytesIO(wav))[0] - wave).max() <= 1 / 32767
    swapped = given | {"pitch": tf.constant([64, 60, 62])}
    changed = np.abs(signatures["serving_default"](**swapped)["audio"] - expected).max(axis=1) > 1e-3
    np.testing.assert_array_equal(changed, [True, True, False])


def test_a_label_that_python_reserves_has_an_input_of_another_name(tmp_path):
    labels = Labels({"class": [0, 1]}, names={"class": ["kick", "snare"]})
    generator = wave_generator(64, dim=2, latent_dim=8, label_width=labels.width)
    synthesizer = GANSynthesizer(
        DCGAN(generator, wave_critic(64, dim=2, label_width=labels.width), labels=labels), Wave(64), 16000
    )
    version = export_saved_model(synthesizer, config_yaml("uniform"), tmp_path / "drums")
    signatures = tf.saved_model.load(str(version)).signatures
    for name, signature in signatures.items():
        inputs = signature.structured_input_signature[1].keys()
        assert inputs == ({"count", "seed", "class_"} if name == "sample" else {"latents", "class_"})
    drawn = signatures["sample"](count=tf.constant(3), seed=tf.constant(0, tf.int64), class_=tf.constant(1))
    assert drawn["class_"].numpy().tolist() == [1, 1, 1]
    latents = synthesizer.latents(3)
    for value in (0, 1):
        expected = synthesizer.generate(latents, {"class": value})
        np.testing.assert_allclose(SavedSynthesizer(version).generate(latents, {"class": value}), expected, atol=1e-6)
    assert answers_to_warm_up(version).keys() == signatures.keys()
    assert "class_=tf.constant(-1)" in (version / "MODEL_CARD.md").read_text()


def test_sample_draws_labels_that_are_not_asked_for_and_returns_them(conditional_folder, conditional):
    synthesizer, _ = conditional
    sample = tf.saved_model.load(str(conditional_folder / "1")).signatures["sample"]
    seed = 2**40 + 3
    latents = synthesizer.latents(6, seed)
    for asked in ({"pitch": -1, "family": -1}, {"pitch": 60, "family": -1}, {"pitch": 64, "family": 2}):
        scalars = {kind: tf.constant(value) for kind, value in asked.items()}
        result = sample(count=tf.constant(6), seed=tf.constant(seed, tf.int64), **scalars)
        assert result.keys() == {"audio", "latents", "pitch", "family"}
        chosen = synthesizer.chosen_labels(6, asked, seed)
        for kind, values in chosen.items():
            assert result[kind].dtype == tf.int32
            np.testing.assert_array_equal(result[kind], values)
        np.testing.assert_allclose(result["latents"], latents, atol=1e-6)
        np.testing.assert_allclose(result["audio"], synthesizer.generate(latents, chosen), atol=1e-6)


STRANGE_LABELS = {
    "serving_default, unknown": ("serving_default", {"pitch": [60, 61], "family": [0, 2]}, "`pitch` must be one of 60, 62, 64"),
    "wav, unknown": ("wav", {"pitch": [60, 62], "family": [0, 1]}, "`family` must be one of bass, flute"),
    "serving_default, any": ("serving_default", {"pitch": [60, -1], "family": [0, 2]}, "`pitch` must be one of 60, 62, 64"),
    "fewer": (
        "serving_default",
        {"pitch": [60], "family": [0, 2]},
        "as many values of pitch as latents. Received:. .1. .and. .2",
    ),
    "sample, unknown": ("sample", {"pitch": 61, "family": 0}, "`pitch` must be one of 60, 62, 64. Received:. .61"),
    "sample, below any": ("sample", {"pitch": -2, "family": 0}, "`pitch` must be one of 60, 62, 64. Received:. .-2"),
}


def test_the_graph_refuses_labels_that_it_was_not_trained_on(conditional_folder):
    signatures = tf.saved_model.load(str(conditional_folder / "1")).signatures
    others = {"count": tf.constant(2), "seed": tf.constant(0, tf.int64)}
    for name, (signature, labels, message) in STRANGE_LABELS.items():
        given = others if signature == "sample" else {"latents": tf.zeros((2, 8))}
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            signatures[signature](**given, **{kind: tf.constant(values) for kind, values in labels.items()})
            pytest.fail(name)


def test_read_back_it_has_the_same_labels(conditional_folder, conditional):
    synthesizer, _ = conditional
    saved = SavedSynthesizer(conditional_folder)
    assert saved.labels.get_config() == synthesizer.labels.get_config()
    assert saved.labels.kinds == ("pitch", "family")  # the order in which the network takes them
    assert saved.labels.parsed("family", "flute") == [2]
    latents = synthesizer.latents(4)
    for asked in (None, {"pitch": 62}, {"pitch": [60, 62, -1, 64], "family": 0}):
        np.testing.assert_allclose(saved.generate(latents, asked), synthesizer.generate(latents, asked), atol=1e-6)
    with pytest.raises(InputError, match="`pitch` must be one of 60, 62, 64. Received: 61."):
        saved.generate(latents, {"pitch": 61})


def test_the_model_card_says_what_one_can_ask_for(conditional_folder, make_gan, tmp_path):
    card = (conditional_folder / "1" / "MODEL_CARD.md").read_text()
    assert "| Labels | pitch one of 60, 62, 64; family one of bass, flute |" in card
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    names = {}
    exec(code.replace("notes/1", str(conditional_folder / "1")), names)
    assert names["audio"].shape == (4, 64)
    assert "names are numbered in assets/generator.yaml" in code
    assert (
        yaml.safe_load((conditional_folder / "1" / "assets" / "generator.yaml").read_text())["labels"]["names"]["family"][2]
        == "flute"
    )
    _, version = exported(make_gan(), tmp_path)
    unconditional = (version / "MODEL_CARD.md").read_text()
    assert "Labels" not in unconditional
    assert 'sample"](count=tf.constant(4), seed=tf.constant(7, tf.int64))["audio"]\n' in unconditional


def test_warm_up_requests_of_a_conditional_model(conditional_folder):
    answers = answers_to_warm_up(conditional_folder / "1")
    assert len(answers) == 3
    assert all(len(value) == 1 for outputs in answers.values() for value in outputs.values())


def test_weights_stored_as_float16(make_gan, tmp_path):
    synthesizer = GANSynthesizer(make_gan(), Wave(), 16000)
    versions = [export_saved_model(synthesizer, config_yaml("normal"), tmp_path / "drums", half=half) for half in (False, True)]
    full, half = (sum(file.stat().st_size for file in version.glob("variables/*.data*")) for version in versions)
    assert full - half == pytest.approx(2 * sum(weight.numpy().size for weight in synthesizer.generator.weights), rel=0.02)
    latents = synthesizer.latents(3, seed=5)
    whole, stored = synthesizer.generate(latents), SavedSynthesizer(versions[1])
    from_half = stored.generate(latents)
    assert 0 < np.abs(from_half - whole).max() < 2e-3 * np.abs(whole).max()
    for weight, value in zip(synthesizer.generator.weights, stored.weights, strict=False):
        weight.assign(value)
    np.testing.assert_allclose(from_half, synthesizer.generate(latents), atol=1e-6)  # it is the rounding alone
    sampled = stored._loaded.signatures["sample"](count=tf.constant(3), seed=tf.constant(5, tf.int64))["audio"]
    np.testing.assert_allclose(sampled, from_half, atol=1e-6)
