import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kgan.cli import main
from kgan.commands import _command


@pytest.fixture
def said(capsys):
    """Return a function that runs a command and returns its exit code and what it printed."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def read_folder(folder):
    return np.stack([soundfile.read(path)[0] for path in sorted(folder.glob("*.wav"))])


def test_generate_from_a_run_whose_data_is_gone_and_from_its_saved_model_alike(said, finished_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(re.sub("source: .*", "source: /nowhere", config))
    code, out, _ = said("generate", run, "--count", 5, "--seed", 7, "--out", tmp_path / "a")
    assert code == 0
    assert "5 sounds" in out
    assert said("generate", run / "saved_model", "--count", 3, "--seed", 7, "--out", tmp_path / "b")[0] == 0
    first, second = read_folder(tmp_path / "a"), read_folder(tmp_path / "b")
    assert first.shape == (5, 1024)
    assert np.abs(first[:3] - second).max() <= 1 / 32768
    assert (tmp_path / "a" / "contact_sheet.png").stat().st_size > 5000


def test_latents_that_were_written_make_the_same_sounds(said, finished_run, tmp_path):
    said("generate", finished_run, "--count", 4, "--out", tmp_path / "a")
    code, *_ = said("generate", finished_run, "--latents", tmp_path / "a" / "latents.npy", "--out", tmp_path / "b")
    assert code == 0
    np.testing.assert_array_equal(read_folder(tmp_path / "a"), read_folder(tmp_path / "b"))


def test_interpolation_goes_from_the_first_to_the_second(said, finished_run, tmp_path):
    said("generate", finished_run, "--count", 2, "--seed", 3, "--out", tmp_path / "ends")
    said("generate", finished_run, "--interpolate", 5, "--seed", 3, "--out", tmp_path / "path")
    ends, path = read_folder(tmp_path / "ends"), read_folder(tmp_path / "path")
    assert len(path) == 5
    np.testing.assert_allclose(path[[0, -1]], ends, atol=1 / 16384)


def test_nothing_is_overwritten(said, finished_run, tmp_path):
    (tmp_path / "mine").mkdir()
    code, _, error = said("generate", finished_run, "--out", tmp_path / "mine")
    assert code == 2
    assert "which exists. Give another --out" in error
    assert list((tmp_path / "mine").iterdir()) == []


def test_without_a_name_sounds_go_to_the_next_new_folder(said, finished_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in (1, 2, 3):
        assert said("generate", finished_run, "--count", 1, "--seed", seed)[0] == 0
    folders = [tmp_path / "generated" / name for name in ("finished", "finished-2", "finished-3")]
    assert sorted((tmp_path / "generated").iterdir()) == folders
    assert len({read_folder(folder).tobytes() for folder in folders}) == 3


def test_export_writes_the_next_version(said, finished_run, tmp_path):
    for version in ("1", "2"):
        code, out, _ = said("export", finished_run, tmp_path / "models" / "drums")
        assert code == 0
        assert out.strip().endswith(f"drums/{version}.")
    assert said("generate", tmp_path / "models" / "drums", "--count", 1, "--out", tmp_path / "a")[0] == 0
    assert said("generate", finished_run, "--count", 1, "--out", tmp_path / "b")[0] == 0
    assert np.abs(read_folder(tmp_path / "a") - read_folder(tmp_path / "b")).max() <= 1 / 32768


BAD = {
    "unknown model": (["train", "--model", "wgan_pg"], "Unknown model `wgan_pg`. Did you mean `wgan_gp`?"),
    "unknown representation": (["train", "--repr", "wav"], "Unknown representation `wav`. Did you mean `wave`?"),
    "unknown option": (["train", "--network.dmi", "3"], "Unknown option `--network.dmi`. Did you mean `--network.dim`?"),
    "unknown short option": (["generate", "x", "--cuont=3"], "Unknown option `--cuont`. Did you mean `--count`?"),
    "extra argument": (["export", "a", "b", "c"], "Unexpected argument: c"),
    "option of another model": (["train", "--model", "dcgan", "--gan.clip_value", "1"], "has no option `gan.clip_value`"),
    "impossible length": (["train", "--data.length_samples", "16000"], "Received: 16000. Nearest: 16384."),
    "no such folder": (["train", "--data", "nowhere"], "existing folder of sounds. Received:"),
    "value out of range": (["train", "--training.batch_size", "-3"], "Input should be greater than 0. Received: -3."),
    "option that the model needs": (["train", "--model", "wgan", "--gan.clip_value", "null"], "wgan needs `gan.clip_value`"),
    "no YAML": (["train", "--network.dim", "["], "`network.dim` must be a YAML value. Received: [."),
    "a list for a name": (["train", "--model", "[a]"], "Unknown model `[a]`."),
    "a truth for a number": (["train", "--network.dim", "true"], "`network.dim` is neither true nor false."),
    "seed too large": (["train", "--seed", "4294967296"], "`seed`: Input should be less than 4294967296."),
    "shuffle too wide": (["train", "--network.phase_shuffle", "64"], "must be below 16"),
    "masks of waves": (["train", "--augment.time_mask_frames", "3"], "Masks are for spectrograms"),
    "fade too long": (["train", "--augment.fade_samples", "9000"], "at most half a clip, 8192. Received: 9000."),
    "prepare nothing": (["prepare", "nowhere", "--out", "x"], "existing folder of sounds. Received:"),
    "prepare without a place": (["prepare", "nowhere"], "the following arguments are required: --out"),
    "prepare the notes": (["prepare", "notes", "--out", "x"], "The built-in notes need no shards"),
    "benchmark of what is not": (["benchmark", "nothing"], "invalid choice: 'nothing'"),
    "count out of range": (["generate", "x", "--count", "0"], "must be from 1 to 1000000. Received: 0"),
    "no number": (["generate", "x", "--count", "abc"], "argument --count: invalid integer value: 'abc'"),
    "two ways at once": (["generate", "x", "--count", "1", "--interpolate", "3"], "not allowed with argument"),
    "no command": (["trian"], "invalid choice: 'trian'"),
    "no such config": (["train", "--config", "no.yaml"], "must be a readable YAML file. Received: no.yaml"),
    "generate from nothing": (["generate", "nowhere"], "There is no run and no SavedModel in nowhere."),
    "export of nothing": (["export", "nowhere", "out"], "There is no run in nowhere"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_line_and_code_2(said, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    arguments, message = BAD[case]
    code, _, error = said(*arguments)
    assert code == 2
    assert message in error
    assert error.count("\n") == 1
    assert error.startswith("kgan: error: ")
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((2, 7)), r"must be numbers (count, 8). Received: "),
        (np.zeros((0, 8)), "must be numbers (count, 8)"),
        (np.full((1, 8), np.inf), "must be finite"),
        (np.full((1, 8), 1e300), "must be finite"),
        (b"", "must be in a .npy file"),
        (b"PK", "must be in a .npy file"),
        (np.array([["a"] * 8]), "must be numbers"),
        (None, "must be in a .npy file"),
    ],
)
def test_bad_latents(said, finished_run, tmp_path, content, message):
    file = tmp_path / "latents.npy"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        np.save(file, content)
    code, _, error = said("generate", finished_run, "--latents", file, "--out", tmp_path / "out")
    assert code == 2
    assert message in error
    assert not (tmp_path / "out").exists()


def test_a_run_without_a_checkpoint(said, finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints", "saved_model"))
    code, _, error = said("generate", tmp_path / "run", "--out", tmp_path / "out")
    assert code == 2
    assert "has no checkpoint yet" in error


def test_a_run_is_named_after_what_its_files_say(said, tmp_path, monkeypatch, tiny_run_options):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("model: dcgan\n")
    assert said("train", "--config", "mine.yaml", "--steps", 1, *tiny_run_options)[0] == 0
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["dcgan_wave_sounds0"]


def test_scripts_are_doors_to_the_commands():
    scripts = sorted((Path(__file__).parent.parent / "scripts").glob("*.py"))
    assert len(scripts) == 9
    for script in scripts:
        shown = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=True).stdout
        assert shown.startswith(f"usage: kgan {script.stem.removesuffix('_table')} ")


@pytest.mark.parametrize(
    ("started", "python", "expected"),
    [
        ("scripts/train.py", "/usr/bin/python", "/usr/bin/python scripts/generate.py 'a run' --count 64"),
        ("scripts/train.py", "{here}/.venv/bin/python", ".venv/bin/python scripts/generate.py 'a run' --count 64"),
        ("/usr/bin/kgan", "/usr/bin/python", "/usr/bin/kgan generate 'a run' --count 64"),
        ("/x/kgan/cli.py", "/usr/bin/python", "kgan generate 'a run' --count 64"),
    ],
)
def test_the_commands_it_suggests_run_as_it_was_run(monkeypatch, tmp_path, started, python, expected):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [started])
    monkeypatch.setattr(sys, "executable", python.format(here=Path.cwd()))
    assert _command("generate", "a run", "--count", 64) == expected


def test_help_teaches_by_example(capsys):
    benchmarks = ("benchmark pipeline", "benchmark train", "benchmark generate")
    for command in ("train", "prepare", "generate", "evaluate", "reproduce", "export", *benchmarks):
        with pytest.raises(SystemExit) as end:
            main([*command.split(), "--help"])
        assert end.value.code == 0
        assert f"kgan {command} " in capsys.readouterr().out.partition("examples:")[2]
