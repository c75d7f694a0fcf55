"""Every block of code in README and pages runs as it stands; what trains or scores is made small by `pages_python.py`."""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow_datasets as tfds

from kgan.data.notes import FAMILIES, SOURCES
from kgan.data.nsynth import note_labels
from kgan.serving.saved_model import exported_step
from tests.test_docs import PAGES, ROOT, blocks, commands_in

pytestmark = pytest.mark.long

STEPS = 3
SHELL = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(blocks(page, "bash"))
]  # fmt: skip
NAMES = [f"{family}_acoustic_000-{pitch:03d}-100" for family in ("bass", "guitar", "organ") for pitch in range(48, 84)]

# What is not on every machine, each checked for what it is given, and no more.
PROGRAMS = {
    "python": f'exec "{sys.executable}" "{ROOT}/tests/pages_python.py" "$@"',
    "python3": 'mkdir -p .venv/bin && cp "$(dirname "$0")"/p* .venv/bin && exec "$(dirname "$0")"/python "$@"',
    "pip": 'test "$1" = install',
    "tensorboard": 'test "$1" = --logdir && find "$2" -name "events.*" | grep -q .',
    "docker": 'test -f "$3" && test -f "$MODEL"/1/saved_model.pb',
    "srun": 'test "$1" = --kill-on-bad-exit && shift && exec "$@"',
}


def note(number):
    time_s = np.arange(64000) / 16000
    return (0.5 * np.sin(2 * np.pi * (200 + 40 * number) * time_s)).astype(np.float32)


def write_nsynth(folder):
    """Write NSynth's archive of WAVs and, as TensorFlow Datasets keeps them, the set and GANSynth's part of it."""
    for number, name in enumerate(NAMES):
        soundfile.write(folder / f"{name}.wav", note(number), 16000)
    with tarfile.open(folder / "nsynth-train.jsonwav.tar.gz", "w:gz") as archive:
        for path in sorted(folder.glob("*.wav")):
            archive.add(path, f"nsynth-train/audio/{path.name}")
            path.unlink()
    for config in ("full", "gansynth_subset"):
        builder = tfds.builder(f"nsynth/{config}", data_dir=folder / "tfds")
        examples = []
        for number, name in enumerate(NAMES):
            labels = note_labels(name)
            instrument = {"label": 7, "family": FAMILIES[labels["family"]], "source": SOURCES[labels["source"]]}
            example = {"id": name, "audio": note(number), "instrument": instrument}
            example |= {kind: labels[kind] for kind in ("pitch", "velocity")}
            example |= {"qualities": dict.fromkeys(builder.info.features["qualities"], False)}
            examples.append((name, example))
        tfds.dataset_builders.store_as_tfds_dataset(
            name="nsynth", config=config, version=builder.version, features=builder.info.features,
            split_datasets=dict.fromkeys(("train", "valid", "test"), examples), data_dir=folder / "tfds",
        )  # fmt: skip


def run_bash(block, folder, steps=STEPS):
    """Run a block in a folder whose parent holds the programs, and the drums and NSynth of a home."""
    programs, home = folder.parent / "bin", folder.parent / "home"
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(home), "PAGES_STEPS": str(steps)}
    environment |= {"TFDS_DATA_DIR": str(home / "tfds"), "PYTHONPATH": str(ROOT)}
    command = ["bash", "-euo", "pipefail", "-c", block]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with all that the blocks take for granted: a checkout, its two runs, sets of sounds, tables' sources."""
    place = tmp_path_factory.mktemp("pages")
    folder, home, programs = (place / name for name in ("made", "home", "bin"))
    (home / "my_drums").mkdir(parents=True)
    programs.mkdir()
    for name, text in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    rng = np.random.default_rng(0)
    for number in range(40):
        kind = home / "my_drums" / ("kick" if number % 2 else "snare")
        kind.mkdir(exist_ok=True)
        hit = np.exp(-np.arange(8000) / 800) * rng.uniform(-1, 1, 8000)
        soundfile.write(kind / f"{number:02d}.wav", hit, 16000)
    write_nsynth(home)
    folder.mkdir()
    for name in ("scripts", "configs", "kgan"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "saved_models" / "notes_fast", folder / "saved_models" / "notes_fast")
    shutil.copy(home / "nsynth-train.jsonwav.tar.gz", folder)
    lines = [
        "python scripts/train.py --preset fast", "python scripts/train.py --model wgan_gp --repr wave",
        "python scripts/prepare.py nsynth --out shards/nsynth",
        "python scripts/generate.py runs/wgan_gp_wave_notes --count 20 --out their_wavs",
        "cp -r runs/wgan_gp_wave_notes runs/a", "cp -r runs/fast_notes runs/b",
        "python scripts/train.py --model wgan_gp --repr wave --run runs/other",
        "mv runs/other/saved_model saved_models/notes",
    ]  # fmt: skip
    run_bash("\n".join(lines), folder, steps=STEPS - 1)
    return folder


@pytest.fixture
def checkout(made):
    """A copy of that folder, for one block."""
    folder = made.parent / "checkout"
    shutil.copytree(made, folder, symlinks=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server(made):
    pytest.importorskip("tensorflow_serving")
    from tests.serving.stand_in import StandIn

    stand_in = StandIn(made / "runs/wgan_gp_wave_notes/saved_model", "kgan")
    yield stand_in
    stand_in.stop()


@pytest.mark.parametrize("block", SHELL)
def test_a_shell_block_runs_and_leaves_what_it_names(block, checkout, request):
    if "localhost:8501" in block:
        block = block.replace("localhost:8501", request.getfixturevalue("server").rest.removeprefix("http://"))
    block = block.replace("/shared/", "shared/").replace("1000000", "20")
    run_bash(block, checkout)
    for arguments in commands_in(block):
        named = dict(itertools.pairwise(arguments))
        if arguments[0] == "train" and "--run" in named:
            assert exported_step(checkout / named["--run"] / "saved_model") == STEPS
        if arguments[0] == "export":
            assert exported_step(checkout / arguments[2]) == STEPS - 1
        if "--out" in named:
            assert (checkout / named["--out"].removeprefix("shards:")).exists()
        if arguments[0] == "reproduce":
            (table,) = (checkout / named.get("--out", "runs/table")).glob("*.json")
            assert len(json.loads(table.read_text())["rows"]) == 6
    if "one.wav" in block:
        assert soundfile.info(checkout / "one.wav").frames == 16384


def test_the_block_of_the_client(checkout, server, monkeypatch):
    (block,) = blocks(ROOT / "kgan/docs/pages/serving.md", "python")
    monkeypatch.chdir(checkout)
    names = {}
    exec(block.replace("http://localhost:8501", server.rest), names)
    assert names["sounds"].shape == (4, 16384)
    served = [soundfile.read(path)[0] for path in sorted(Path("served_sounds").glob("*.wav"))]
    np.testing.assert_allclose(served, names["sounds"], atol=1 / 32768)


def test_no_python_block_is_without_a_test():
    tests = "".join((ROOT / "tests" / name).read_text() for name in ("test_readme.py", "test_docs.py", "test_pages.py"))
    told = re.findall(r'python_block\("(.+?)"\)', tests)
    for block in blocks(PAGES[0], "python"):
        assert any(part in block for part in told)
    with_python = {page.name for page in PAGES[1:] if blocks(page, "python")}
    assert {name for name in with_python if f'{name}", "python")' in tests} == with_python
