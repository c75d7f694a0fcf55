import io
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import tensorflow as tf
import yaml

from kgan.errors import InputError
from kgan.gans import DCGAN, WGANGP
from kgan.representations import Wave
from kgan.serving.saved_model import SavedSynthesizer, export_saved_model
from kgan.synthesizer import Synthesizer

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
    wav=model.signatures["wav"](latents=latents)["wav"].numpy(),
    three=three["audio"], five=five["audio"], five_latents=five["latents"],
)
assert "kgan" not in sys.modules
"""


def config_yaml(distribution):
    values = {
        "data": {"sample_rate_hz": 16000},
        "network": {"latent_dim": 8},
        "gan": {"latent_distribution": distribution},
    }
    return yaml.safe_dump(values)


def exported(gan, folder):
    synthesizer = Synthesizer(gan, Wave(), 16000)
    return synthesizer, export_saved_model(synthesizer, config_yaml(gan.latent_distribution), folder)


@pytest.mark.parametrize(
    ("gan_class", "dtype"), [(DCGAN, "float32"), (WGANGP, "mixed_bfloat16")], ids=["uniform", "normal-bfloat16"]
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
    with pytest.raises(InputError, match=r"must be one that kgan exported. Received: .*config.yaml is missing"):
        SavedSynthesizer(tmp_path / "foreign")
    (tmp_path / "foreign" / "assets" / "config.yaml").write_text(config_yaml("normal"))
    with pytest.raises(InputError, match="lacks the signatures sample, wav"):
        SavedSynthesizer(tmp_path / "foreign")
    _, version = exported(make_gan(), tmp_path / "damaged")
    (version / "saved_model.pb").write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match="must be one that kgan exported"):
        SavedSynthesizer(version)


def test_a_folder_that_cannot_be_written(make_gan, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="folder that can be written. Received: .*file/name"):
        exported(make_gan(), tmp_path / "file" / "name")
