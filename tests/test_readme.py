"""The code of the README and of the pages on training and generating runs as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kgan.audio.pitch import estimate_pitch

ROOT = Path(__file__).parent.parent
README, TRAINING, GENERATING = (
    (ROOT / page).read_text(encoding="utf-8")
    for page in ("README.md", "kgan/docs/pages/training.md", "kgan/docs/pages/generating.md")
)


def python_block(page, containing):
    (block,) = [b for b in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL) if containing in b]
    return block


def test_the_readme_is_short():
    assert len(README.split()) <= 900


def test_three_lines_make_sounds_of_the_pitch_that_they_ask_for(tmp_path, monkeypatch):
    code = python_block(README, "write_wavs")
    lines = [line for line in code.splitlines() if line]
    assert len(lines) == 3
    monkeypatch.chdir(tmp_path)
    (tmp_path / "saved_models").symlink_to(ROOT / "saved_models")
    exec(code, {})
    sounds = [soundfile.read(path)[0] for path in sorted((tmp_path / "organ").iterdir())]
    assert len(sounds) == 4
    found = estimate_pitch(np.stack(sounds), 16000)
    np.testing.assert_allclose(1200 * np.log2(found.frequency_hz / 261.6256), 0, atol=20)  # cents from C4


def test_the_lines_of_a_notebook_train(notes_cache, monkeypatch):
    code = python_block(TRAINING, "gan.fit").replace("dim=16", "dim=2")
    code = code.replace("steps_per_epoch=100, epochs=10", "steps_per_epoch=2")
    assert len(code.splitlines()) <= 13
    monkeypatch.setenv("KGAN_CACHE", str(notes_cache))
    names = {}
    exec(code, names)
    assert names["gan"].steps_done == names["synthesizer"].step == 2


def test_the_networks_of_a_spectrogram_follow_from_it(notes_cache, monkeypatch):
    monkeypatch.setenv("KGAN_CACHE", str(notes_cache))
    names = {}
    exec("import kgan\n" + python_block(TRAINING, "melif.adapt").replace("dim=16", "dim=2"), names)
    assert names["generator"].output_shape == (None, 64, 512, 2)
    assert names["critic"].input_shape == (None, 64, 512, 2)
    assert names["melif"].level_range[1] > names["melif"].level_range[0] > -10


def test_the_saved_model_s_lines(finished_run, monkeypatch):
    code = python_block(GENERATING, "tf.saved_model.load").replace("runs/wgan_gp_wave_notes", str(finished_run))
    names = {}
    exec(code.replace("(4, 100)", "(4, 8)"), names)
    assert names["sounds"].shape == (4, 1024)
    assert names["files"].shape == (4,)
    assert names["files"][0].numpy()[:4] == b"RIFF"


@pytest.mark.parametrize("name", ["wgan_gp", "dcgan", "wgan", "r1"])
def test_the_table_of_hyper_parameters_is_what_configs_state(name):
    from kgan.config import load_config

    config = load_config({"model": name, "size": "full"})
    header = next(line for line in TRAINING.splitlines() if line.startswith("| `--model` | dcgan"))
    column = [cell.strip() for cell in header.split("|")].index(name)
    lines = [line.split("|") for line in TRAINING.splitlines() if line.count("|") == 6]
    rows = {cells[1].strip(): cells[column].strip() for cells in lines}
    assert rows["critic steps per iteration"] == str(config.gan.n_critic)
    mantissa = f"{config.optimizer.learning_rate:.0e}".replace("e-0", "e-")
    optimizer = {"adam": f"Adam {mantissa} ({config.optimizer.beta_1}, {config.optimizer.beta_2})"}
    assert rows["optimizer"] == optimizer.get(config.optimizer.name, f"RMSprop {mantissa}")
    assert rows["latents"] == f"{config.network.latent_dim}, {config.gan.latent_distribution}"
