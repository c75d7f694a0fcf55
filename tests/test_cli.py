import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from tqdm import tqdm

from kgan.cli import _parser, main
from kgan.commands import _command
from kgan.errors import told


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
    "a truth for a number": (["train", "--network.dim", "true"], "`network.dim` must not be true or false."),
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
    "no sample rate": (["generate", "x", "--sample-rate", "0"], "--sample-rate: must be from 1 to 384000. Received: 0"),
    "a negative one": (["generate", "x", "--sample-rate", "-8000"], "--sample-rate: must be from 1 to 384000. Received: -8000"),
    "one too high": (["generate", "x", "--sample-rate", "384001"], "--sample-rate: must be from 1 to 384000. Received: 384001"),
    "of shards": (
        ["generate", "x", "--sample-rate", "8000", "--out", "shards:y"],
        "is for WAV files. Received: --sample-rate with --out",
    ),
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


FAULT = "This is a bug in kgan, not a fault of your input; everything saved so far is kept. Use --debug for details."


def failing(error):
    def command(options):
        """Fail."""
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyError("x"), 1, f"KeyError: 'x'. {FAULT}"),
        (RuntimeError("a\nb."), 1, f"RuntimeError: a b. {FAULT}"),
        (AssertionError(), 1, f"AssertionError. {FAULT}"),
        (RuntimeError("x" * 1000), 1, f"RuntimeError: {'x' * 300}…. {FAULT}"),
        (MemoryError(), 1, "Memory ran out. Everything saved so far is kept."),
        (
            OSError(12, "Cannot allocate memory"),
            1,
            "Memory ran out: [Errno 12] Cannot allocate memory. Everything saved so far is kept.",
        ),
        (OSError(28, "No space left"), 2, "[Errno 28] No space left. Everything saved so far is kept."),
    ],
)
def test_an_exception_ends_in_one_line(said, monkeypatch, error, code, line):
    monkeypatch.setattr("kgan.commands.export", failing(error))
    assert said("export", "a", "b") == (code, "", f"kgan: error: {line}\n")


def test_with_debug_the_traceback_comes_first(said, monkeypatch):
    for error in (KeyError("x"), OSError(28, "No space left"), MemoryError()):
        monkeypatch.setattr("kgan.commands.export", failing(error))
        plain = said("export", "a", "b")
        for arguments in (("--debug", "a", "b"), ("a", "--debug", "b"), ("a", "b", "--debug")):
            code, out, err = said("export", *arguments)
            assert (code, out) == plain[:2]
            assert err.startswith("Traceback (most recent call last):\n")
            assert "in command\n    raise error\n" in err
            assert err.endswith(plain[2])
    monkeypatch.undo()
    code, _, err = said("generate", "--debug", "nowhere")
    assert code == 2
    assert "kgan.errors.InputError: There is no run and no SavedModel in nowhere." in err


def test_every_command_has_debug():
    def parsers(parser):
        yield parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for child in action.choices.values():
                    yield from parsers(child)

    every = list(parsers(_parser()))
    assert len(every) == 1 + 9 + 7  # `kgan`, its commands, the parts of `benchmark`
    for parser in every:
        assert re.search(r"  --debug +show the traceback of an error\n", parser.format_help())


def test_what_runs_out_of_memory_says_what_needs_less(said, monkeypatch):
    too_large = failing(MemoryError("Unable to allocate 9 TiB"))
    for command, smaller in (("train", "--training.batch_size or --network.dim"), ("generate", "--count")):
        monkeypatch.setattr(f"kgan.commands.{command}", too_large)
        arguments = ["x"] if command == "generate" else []
        told_line = (
            f"Memory ran out: Unable to allocate 9 TiB. A smaller {smaller} needs less. Everything saved so far is kept."
        )
        assert said(command, *arguments) == (1, "", f"kgan: error: {told_line}\n")


def test_training_that_meets_a_fault_names_the_last_checkpoint(said, finished_run, tiny_run_options, monkeypatch, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    monkeypatch.setattr("kgan.training.train._fit", lambda *arguments: {}["x"])
    fault = "kgan: error: KeyError: 'x'. This is a bug in kgan, not a fault of your input;"
    code, _, err = said("train", "--run", run, "--steps", 9)
    assert code == 1
    assert err.splitlines()[-1] == f"{fault} the last good checkpoint is in {run}/checkpoints. Use --debug for details."
    code, _, err = said("train", "--run", tmp_path / "new", "--steps", 9, *tiny_run_options)
    assert code == 1
    assert err.splitlines()[-1] == f"{fault} there is no earlier checkpoint. Use --debug for details."
    monkeypatch.undo()
    assert said("train", "--run", run, "--steps", 7)[0] == 0  # it goes on


def raised(function):
    with pytest.raises(Exception) as error:
        function()
    return error.value


def test_errors_of_tensorflow_are_told_in_its_own_words():
    """Each is TensorFlow's own, from an operation, a graph, a file, a function of Python within a pipeline."""
    huge = raised(lambda: tf.zeros((10**7, 10**7)))
    of_input, line = told(huge, ["--count", "--a", "--b"])
    assert not of_input
    assert line.startswith("Memory ran out: OOM when allocating tensor with shape[10000000,10000000] and type float on")
    assert line.endswith(" A smaller --count or --a needs less. Everything saved so far is kept.")
    graph = tf.function(lambda size: tf.reduce_sum(tf.zeros([size, size])))
    assert told(raised(lambda: graph(tf.constant(10**6))))[1].startswith(
        "Memory ran out: OOM when allocating tensor with shape"
    )
    parse = tf.function(tf.strings.to_number)
    expected = f"InvalidArgumentError: StringToNumberOp could not correctly convert string: x. {FAULT}"
    assert told(raised(lambda: parse(tf.constant("x")))) == (False, expected)
    assert told(raised(lambda: tf.io.read_file("/nowhere/a"))) == (
        True,
        "/nowhere/a; No such file or directory. Everything saved so far is kept.",
    )
    dataset = tf.data.Dataset.range(1).map(lambda i: tf.numpy_function(lambda i: Path("/nowhere/a").read_text(), [i], tf.int16))
    assert told(raised(lambda: list(dataset))) == (
        True,
        "FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/a'. Everything saved so far is kept.",
    )


def test_a_bar_that_was_going_on_does_not_share_the_line_of_the_error(said, monkeypatch):
    def command(options):
        """Fail in the middle."""
        for i in tqdm(range(5)):
            if i == 2:
                raise KeyError("x")

    monkeypatch.setattr("kgan.commands.export", command)
    _, _, err = said("export", "a", "b")
    assert err.splitlines()[-1] == f"kgan: error: KeyError: 'x'. {FAULT}"


PRINTING = "import sys, kgan.commands, kgan.cli\ndef export(options):\n    'Print.'\n    print('x' * {size})\n    {then}\n"
PRINTING += "kgan.commands.export = export\nsys.exit(kgan.cli.main(['export', 'a', 'b']))"


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("size", "then", "code", "err"),
    [
        (9, "return 0", 141, ""),
        (10**6, "return 0", 141, ""),
        (9, "print('y', file=sys.stderr); return 0", 141, "y\n"),
    ],
)
def test_a_pipe_that_nobody_reads_ends_a_command_quietly(size, then, code, err, unbuffered):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-c", PRINTING.format(size=size, then=then)]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, env=environment)
    os.close(write)
    if unbuffered:
        err = ""  # it ends with the first line
    assert (done.returncode, done.stderr) == (code, err)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
@pytest.mark.parametrize(
    ("redirection", "code", "err"),
    [
        (">&-", 0, ""),
        (">&- 2>&-", 0, ""),
        (">/dev/full", 2, "kgan: error: [Errno 28] No space left on device. Everything saved so far is kept.\n"),
        (">/dev/full 2>&1", 2, ""),
    ],
)
def test_a_console_that_is_closed_or_full(tmp_path, redirection, code, err):
    (tmp_path / "printing.py").write_text(PRINTING.format(size=9, then="return 0"))
    command = f"{sys.executable} printing.py {redirection}"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", err)
