"""Sounds written to shards as they are generated."""

import hashlib

import numpy as np
import pytest

from kgan.bulk import generate_shards
from kgan.cli import main
from kgan.data.shards import ShardedSounds
from kgan.data.sounds import FULL_SCALE
from kgan.errors import InputError


@pytest.fixture
def few_per_shard(monkeypatch):
    for module in ("kgan.bulk", "kgan.data.prepare"):
        monkeypatch.setattr(f"{module}.RECORDINGS_PER_SHARD", 4)


def checksums(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("shard-*")}


def test_they_are_those_that_generate_makes(conditional, tmp_path, few_per_shard):
    synthesizer, _ = conditional
    manifest = generate_shards(synthesizer, tmp_path / "out", count=10, seed=3)
    assert (manifest["clips"], len(manifest["shards"]), manifest["skipped"]) == (10, 3, {})
    stored = ShardedSounds(tmp_path / "out")
    labels = synthesizer.chosen_labels(10, seed=3)
    audio = synthesizer.generate(synthesizer.latents(10, seed=3), labels)
    np.testing.assert_allclose(stored.waveforms(), audio, atol=1.0 / FULL_SCALE)
    for kind, values in labels.items():
        np.testing.assert_array_equal(stored.labels[kind], values)
    assert stored.label_names == {"family": ["bass", "brass", "flute"]}


def test_each_latent_sounds_with_all_labels_asked_for(conditional, tmp_path, few_per_shard):
    synthesizer, _ = conditional
    generate_shards(synthesizer, tmp_path / "out", count=3, seed=3, asked={"pitch": [60, 62, 64], "family": [2]})
    stored = ShardedSounds(tmp_path / "out")
    assert stored.labels["pitch"].tolist() == [60, 62, 64] * 3
    assert stored.labels["family"].tolist() == [2] * 9
    latents = np.repeat(synthesizer.latents(3, seed=3), 3, axis=0)
    audio = synthesizer.generate(latents, {"pitch": np.tile([60, 62, 64], 3), "family": 2})
    np.testing.assert_allclose(stored.waveforms(), audio, atol=1.0 / FULL_SCALE)


def test_interrupted_they_go_on_and_make_only_what_is_missing(conditional, tmp_path, few_per_shard, monkeypatch):
    synthesizer, _ = conditional
    generate_shards(synthesizer, tmp_path / "whole", count=18)
    made = []
    generate = synthesizer.generate

    def stopping(latents, *arguments):
        if sum(made) >= 9:
            raise KeyboardInterrupt
        made.append(len(latents))
        return generate(latents, *arguments)

    monkeypatch.setattr(synthesizer, "generate", stopping)
    with pytest.raises(KeyboardInterrupt):
        generate_shards(synthesizer, tmp_path / "out", count=18)
    assert made == [1, 4, 4]  # one sound to learn their length, then two shards
    assert not (tmp_path / "out" / "manifest.json").exists()
    made.clear()
    monkeypatch.setattr(synthesizer, "generate", lambda latents, *rest: made.append(len(latents)) or generate(latents, *rest))
    generate_shards(synthesizer, tmp_path / "out", count=18)
    assert made == [1, 4, 4, 2]
    assert checksums(tmp_path / "out") == checksums(tmp_path / "whole")


def test_other_sounds_do_not_go_into_the_same_folder(conditional, tmp_path, few_per_shard):
    synthesizer, _ = conditional
    generate_shards(synthesizer, tmp_path / "out", count=4)
    for other in ({"count": 5}, {"count": 4, "seed": 1}, {"count": 4, "asked": {"pitch": [60]}}):
        with pytest.raises(InputError, match="another source"):
            generate_shards(synthesizer, tmp_path / "out", **other)


def test_the_command(finished_run, tmp_path, capsys):
    out = tmp_path / "out"
    for _ in range(2):  # the second finds all there
        assert main(["generate", str(finished_run), "--count", "300", "--seed", "5", "--out", f"shards:{out}"]) == 0
        assert "300 sounds are in" in capsys.readouterr().out
    assert len(ShardedSounds(out)) == 300


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["--interpolate", "4", "--out", "shards:x"], "works with --count and --seed alone"),
        (["--count", "200000", "--out", "x"], "go to --out shards:FOLDER"),
    ],
)
def test_what_the_command_cannot_do_it_says(finished_run, capsys, options, rule):
    assert main(["generate", str(finished_run), *options]) == 2
    assert rule in capsys.readouterr().err
