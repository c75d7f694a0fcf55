"""Names with any character, and with bytes that are no text, wherever they come to be read: console, files, pictures, page."""

import csv
import html
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from urllib.parse import unquote

import keras
import markdown
import matplotlib.image
import numpy as np
import pytest
import requests
import yaml
from matplotlib.figure import Figure
from tensorboard.plugins.hparams import plugin_data_pb2

from kgan.audio.files import write_wav
from kgan.audio.pictures import contact_sheet, drawn, png_of
from kgan.callbacks.board import Board, write_map
from kgan.callbacks.rows import read_rows, write_rows
from kgan.cli import main
from kgan.config import load_config
from kgan.data.load import load_folder, problems
from kgan.data.sounds import Sounds, to_int16
from kgan.demo import Instrument
from kgan.errors import InputError
from kgan.evaluation.table import curves, read_table, to_csv, to_png, write_table
from kgan.files import tensorflow_path
from kgan.gans import WGANGP
from kgan.labels import Labels
from kgan.networks import wave_critic, wave_generator
from kgan.representations import Wave
from kgan.serving.model_card import model_card
from kgan.serving.saved_model import SavedSynthesizer, export_saved_model
from kgan.synthesizer import GANSynthesizer
from kgan.text import in_markdown, one_line, printable
from tests.callbacks.test_callbacks import events_in
from tests.demo.test_server import served
from tests.serving.test_saved_model import config_yaml

NOT_UTF8 = os.fsdecode(b"drums-\xff")
STRAY = "\ud83d"  # half a letter, which JSON can hold and no file's name can
NAMES = [
    "$kick$", r"a_$\frac", "a\tb", "new\nline", "a|b", r"a\|b", "<script>alert(1)</script>", "\U0001f941 日本", "ab" * 150,
    "=1+1", "a,b", '"quoted"', "-lead", "سلام عليكم", "_under_", "*bold*", "`code`", "[a](b)", "&lt;", "a\\", "\r\x1b[1m",
    "\x85\u2028", NOT_UTF8, STRAY,
]  # fmt: skip
CODE_POINTS = [0x09, 0x0A, 0x0D, 0x1B, 0x85, 0x2028]  # what ends a line or a cell somewhere
ASCII_CONSOLES = [{"PYTHONIOENCODING": "cp1252"}, {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}]


@pytest.fixture(scope="module")
def named():
    """A synthesizer of 64 samples that is asked for classes of all these names."""
    keras.utils.set_random_seed(1)
    labels = Labels({"class": range(len(NAMES))}, names={"class": NAMES})
    generator = wave_generator(64, dim=2, latent_dim=8, label_width=labels.width)
    return GANSynthesizer(WGANGP(generator, wave_critic(64, dim=2, label_width=labels.width), labels=labels), Wave(64), 16000)


@pytest.fixture
def silent_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def not_utf8(tmp_path):
    """A folder for sounds whose name is not UTF-8."""
    try:
        (tmp_path / NOT_UTF8).mkdir()
    except OSError:
        pytest.skip("this file system takes names in UTF-8 alone")
    return tmp_path / NOT_UTF8


def pixels(png):
    return matplotlib.image.imread(io.BytesIO(png), format="png")


def shown_cells(text):
    """Return the cells of a Markdown table as a reader of Markdown shows them, and the tags that are in them."""
    cells = re.findall(r"<td>(.*?)</td>", markdown.markdown(text, extensions=["tables"]), flags=re.DOTALL)
    return [html.unescape(cell) for cell in cells], [tag for cell in cells for tag in re.findall("<[^>]*>", cell)]


def test_bytes_and_control_characters_are_spelt_out():
    assert printable(NOT_UTF8) == r"drums-\xff"
    assert printable("\ud83d日本\n") == "\\ud83d日本\n"
    assert printable(os.fsdecode("Schläge".encode())) == "Schläge"
    assert printable("Schl\udcc3\udca4ge") == "Schläge"  # as Python holds it where file names are taken for ASCII
    assert one_line("a\nb\t\x1b[1m\x85\u2028 \udcff") == r"a\nb\t\x1b[1m\x85\u2028 \xff"
    assert one_line("\U0001f941 سلام $a$ \\n") == "\U0001f941 سلام $a$ \\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_one_cell_of_a_markdown_table(name):
    cells, tags = shown_cells(f"| a | b |\n|---|---|\n| {in_markdown(name)} | 1 |\n")
    assert cells == [one_line(name), "1"]
    assert tags == []


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_drawn_letter_by_letter(name, silent_warnings):
    """Matplotlib, told that there is no mathematics, is the peer."""
    text = one_line(name)
    if len(text) > 32:
        text = "ab" * 7 + "a…" + "ab" * 8
    pictures = []
    for shown, options in ((drawn(name).lstrip(" "), {}), (text, {"parse_math": False})):
        figure = Figure(figsize=(4, 0.5))
        figure.text(0.1, 0.4, shown, **options)
        pictures.append(png_of(figure))
    np.testing.assert_array_equal(*map(pixels, pictures))
    assert pixels(pictures[0]).min() < 0.5  # there are letters


def test_a_sheet_has_titles_that_are_no_mathematics(silent_warnings):
    audio = np.zeros((len(NAMES), 1024))
    sheet = pixels(contact_sheet(audio, 16000, titles=NAMES, row_names=["$real$", r"$\frac", "_"]))
    assert sheet.shape == pixels(contact_sheet(audio, 16000)).shape
    literal, italic = (pixels(contact_sheet(audio[:1], 16000, titles=[title])) for title in (r"$a$", "a"))
    assert (literal != italic).any()


def result_of(names):
    rows = [{"experiment": name, "count": 50, "ndb": 0.1 + 0.02 * i, "warnings": []} for i, name in enumerate(names)]
    settings = {"data": NOT_UTF8, "compared": 50, "references": 50, "metrics": ["ndb"], "splits": 10}
    failed = {"fai\nled": "a | reason"}
    return {"settings": settings, "classifier": None, "rows": rows, "failed": failed}


def test_a_table_reads_back_equal(tmp_path, silent_warnings):
    result = result_of(NAMES)
    write_table(result, tmp_path / "table.md")
    read = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_bytes().decode(), newline="")))
    assert [row["experiment"] for row in read] == [printable(name) for name in NAMES]
    assert [float(row["ndb"]) for row in read] == [row["ndb"] for row in result["rows"]]
    assert read_table(tmp_path / "table.json") == result
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert shown_cells(text)[0][::3] == [one_line(name) for name in NAMES]
    assert r"Data: drums-\xff. Scores" in text
    assert text.splitlines()[-1] == r"Not scored: fai\nled: a \| reason"
    assert len(text.splitlines()) == 2 + len(NAMES) + 3


def test_names_that_are_drawn_alike_keep_bars_of_their_own(silent_warnings):
    same = ["x" * 20 + middle + "x" * 20 for middle in "ab"]
    assert drawn(same[0]) == drawn(same[1])
    pictures = []
    for height in (0.05, 0.02):  # of the second, which the first would hide
        result = result_of(same)
        result["rows"][1]["ndb"] = height
        pictures.append(pixels(to_png(result)))
    assert (pictures[0] != pictures[1]).any()


def test_a_legend_names_what_begins_with_an_underline(silent_warnings):
    rows = [{"step": 1, "ndb": 0.5}, {"step": 2, "ndb": 0.4}]
    one, other = (pixels(curves({name: rows}, real={"ndb": 0.3})) for name in ("_this", "_that"))
    assert one.shape == other.shape
    assert (one != other).any()


def test_rows_of_a_run_read_back_equal_whatever_the_locale(tmp_path):
    rows = [{"step": "1", "name": name} for name in map(printable, NAMES)]
    write_rows(tmp_path / "rows.csv", rows)
    assert read_rows(tmp_path / "rows.csv", 1) == rows
    assert "日本".encode() in (tmp_path / "rows.csv").read_bytes()


def test_the_board_keeps_a_line_for_each_sound_and_a_cell_for_each_name(named, tmp_path):
    write_map(tmp_path, np.zeros((len(NAMES), 1024)), 16000, {"class": NAMES})
    lines = (tmp_path / "map" / "sounds.tsv").read_bytes().decode().split("\n")
    assert [line.split("\t") for line in lines[1:-1]] == [[str(i), one_line(name)] for i, name in enumerate(NAMES)]
    assert not {chr(point) for point in CODE_POINTS if point not in (0x09, 0x0A)} & set("".join(lines))
    board = Board(named, tmp_path, {"source": NOT_UTF8})
    board.set_model(None)
    board.on_train_begin()
    (info,) = [
        value.metadata.plugin_data.content for _, value in events_in(tmp_path) if value.tag.endswith("session_start_info")
    ]
    told = plugin_data_pb2.HParamsPluginData.FromString(info).session_start_info.hparams
    assert told["source"].string_value == r"drums-\xff"


def test_a_skipped_sound_is_told_in_one_line(tmp_path):
    (line, *others) = problems(dict.fromkeys(NAMES, "is damaged"), {}, tmp_path)
    assert line == f"{len(NAMES)} sounds were skipped:"
    assert others == [f"  {one_line(name)} is damaged" for name in NAMES]


def test_a_message_stays_one_line():
    for name in NAMES:
        assert len(str(InputError(f"Received: {name}.")).splitlines()) == 1
    assert str(InputError("Received: a\nb.")) == r"Received: a\nb."


@pytest.mark.parametrize("folder_name", [r"a_$\frac|b", "drums [v2]", "-lead", "new\nline", "\U0001f941 日本", "a*b?", "'q'"])
def test_a_model_is_exported_to_a_folder_of_any_name_and_read_again(named, tmp_path, folder_name):
    version = export_saved_model(named, config_yaml("normal"), tmp_path / folder_name)
    saved = SavedSynthesizer(tmp_path / folder_name)
    assert saved.labels.names["class"] == NAMES
    labels = {"class": np.array([1, 3])}
    np.testing.assert_allclose(saved.generate(saved.latents(2), labels), named.generate(named.latents(2), labels), atol=1e-6)
    card = (version / "MODEL_CARD.md").read_text(encoding="utf-8")
    shell = re.search(r"```bash\n(.*?)```", card, re.DOTALL)[1]
    path = re.search(r"tf\.saved_model\.load\((.*)\) ", card)[1]
    given = shlex.split(shell, comments=True)[2]
    assert given == (f"./{folder_name}" if folder_name.startswith("-") else one_line(folder_name))
    assert json.loads(path) == f"{folder_name}/1"
    cells = shown_cells(card)[0]
    assert cells[cells.index("Labels") + 1] == f"class one of {', '.join(map(one_line, NAMES))}"


def test_a_model_card_names_data_that_is_not_utf8():
    config = yaml.safe_load(config_yaml("normal"))
    config["data"]["source"] = f"/sounds/{NOT_UTF8}|a\nb"
    cells, _ = shown_cells(model_card("drums", config, 1, 1, 1, sounds=40))
    assert cells[cells.index("Trained on") + 1] == r"/sounds/drums-\xff|a\nb, 40 sounds"


def test_a_configuration_keeps_any_name():
    for name in (name for name in NAMES if name != STRAY):
        config = load_config({"data.source": f"/sounds/{name}", "data.labels_csv": f"/sounds/{name}.csv"})
        read = yaml.safe_load(config.to_yaml())["data"]
        assert (read["source"], read["labels_csv"]) == (f"/sounds/{name}", f"/sounds/{name}.csv")
    assert load_config({"data.labels_csv": "null"}).data.labels_csv is None


def test_the_page_is_told_names_as_text(named):
    instrument = Instrument(named)
    ids = [f"{name}#0" for name in NAMES]
    sounds = to_int16(np.zeros((len(NAMES), 64)))
    instrument.real = Sounds(sounds, 16000, ids, {"class": np.arange(len(NAMES))}, {"class": NAMES})
    address = served(instrument)
    told = requests.get(f"{address}/model.json", timeout=10).json()
    assert told["labels"]["class"] == [[i, one_line(name)] for i, name in enumerate(NAMES)]
    for i, name in enumerate(NAMES):
        answer = requests.get(f"{address}/real.wav?label.class={i}&number=0", timeout=10)
        assert (answer.status_code, unquote(answer.headers["x-name"])) == (200, one_line(f"{name}#0"))
    scripts = [requests.get(f"{address}/{name}.js", timeout=10).text for name in ("page", "keyboard", "sequencer", "sounds")]
    assert not any(word in script for script in scripts for word in ("innerHTML", "outerHTML", "insertAdjacentHTML"))


def run_in(folder, *arguments, **environment):
    """Run kgan in a process of its own, and return its exit code, standard output and errors."""
    command = [sys.executable, "-m", "kgan.cli", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True)
    return done.returncode, done.stdout.decode("ascii"), done.stderr.decode("ascii")


@pytest.mark.parametrize("environment", ASCII_CONSOLES, ids=["cp1252", "C"])
def test_a_console_of_few_letters_is_told_of_any_file(tmp_path, sound_folder, environment):
    shutil.copytree(sound_folder, tmp_path / "sounds")
    for name in ("\U0001f941 日本", "new\nline", NOT_UTF8):
        (tmp_path / "sounds" / f"{name}.wav").write_text("no sound")
    code, out, error = run_in(tmp_path, "prepare", "sounds", "--out", "sh", "--data.length_samples", 1024, **environment)
    assert code == 0, error
    told = [line for line in out.splitlines() if line.startswith("  ")]
    assert [line.partition(".wav")[0] for line in told] == [r"  drums-\xff", r"  new\nline", r"  \U0001f941 \u65e5\u672c"]
    manifest = json.loads((tmp_path / "sh" / "manifest.json").read_text(encoding="utf-8"))
    assert sorted(manifest["skipped"]) == sorted([r"drums-\xff.wav", "new\nline.wav", "\U0001f941 日本.wav"])


def test_a_run_and_its_data_may_have_letters_that_the_locale_has_not(tmp_path, sound_folder, tiny_run_options):
    shutil.copytree(sound_folder, tmp_path / "Schläge")
    options = ["Schläge" if option == str(sound_folder) else option for option in tiny_run_options]
    code, out, error = run_in(tmp_path, "train", "--steps", 1, *options, **ASCII_CONSOLES[1])
    assert code == 0, error
    run = tmp_path / "runs" / "wgan_gp_wave_Schläge"
    assert r"runs/wgan_gp_wave_Schl\xe4ge has done 1 iterations." in out
    assert list((run / "logs").glob("events*"))
    assert r"| Trained on |" in (run / "saved_model/1/MODEL_CARD.md").read_text(encoding="utf-8")


def test_data_whose_name_is_not_utf8(not_utf8, sound_folder, tiny_run_options, monkeypatch, capsys):
    shutil.copytree(sound_folder, not_utf8, dirs_exist_ok=True)
    monkeypatch.chdir(not_utf8.parent)
    options = [NOT_UTF8 if option == str(sound_folder) else option for option in tiny_run_options]
    assert main(["train", "--steps", "1", *options]) == 0
    run = not_utf8.parent / "runs" / "wgan_gp_wave_drums-_xff"
    assert main(["train", "--run", str(run), "--steps", "2"]) == 0
    assert main(["train", "--run", str(run), "--steps", "3", "--data", NOT_UTF8]) == 0
    assert [row["step"] for row in read_rows(run / "history.csv", 9)] == ["1", "2", "3"]
    assert main(["export", str(run), "exported"]) == 0
    version = not_utf8.parent / "exported" / "1"
    for file in (run / "config.yaml", version / "assets" / "config.yaml"):
        assert yaml.safe_load(file.read_text(encoding="utf-8"))["data"]["source"] == str(not_utf8)
    source = one_line(not_utf8)
    cells, _ = shown_cells((version / "MODEL_CARD.md").read_text(encoding="utf-8"))
    assert cells[cells.index("Trained on") + 1] == f"{source}, 40 sounds"
    assert main(["train", "--config", str(version / "assets/config.yaml"), "--run", "again", "--steps", "1"]) == 0
    assert (not_utf8.parent / "again" / "checkpoints" / "step_00000001").is_dir()
    run.rename(not_utf8.parent / os.fsdecode(b"moved-\xfe"))
    assert main(["generate", os.fsdecode(b"moved-\xfe/saved_model"), "--count", "1"]) == 0
    assert "its latents" not in capsys.readouterr().err


def test_an_evaluation_of_folders_that_are_not_utf8(not_utf8, monkeypatch):
    monkeypatch.chdir(not_utf8.parent)
    for i in range(60):
        clip = np.sin(2 * np.pi * (200 + 20 * i) * np.arange(2048) / 16000)
        write_wav(not_utf8 / f"{i:02d}.wav", clip, 16000)
    options = ["--data.length_samples", "2048", "--count", "50", "--metrics", "diversity", "--out", "table.md"]
    assert main(["evaluate", NOT_UTF8, "--data", NOT_UTF8, *options]) == 0
    result = read_table("table.json")
    assert [row["experiment"] for row in result["rows"]][2] == r"drums-\xff"
    assert result["settings"]["data"] == one_line(not_utf8)
    assert r"drums-\xff" in to_csv(result)


def test_where_tensorflow_cannot_write_is_said_before_any_work(not_utf8, sound_folder, finished_run, tiny_run_options, capsys):
    """TensorFlow takes names in UTF-8 alone."""
    before = sorted(os.listdir(not_utf8))
    commands = [
        ["train", "--run", f"{not_utf8}/run", "--steps", "1", *tiny_run_options],
        ["export", str(finished_run), f"{not_utf8}/model"],
        ["prepare", str(sound_folder), "--out", f"{not_utf8}/shards", "--data.length_samples", "1024"],
        ["generate", str(finished_run), "--count", "2", "--out", f"shards:{not_utf8}/shards"],
        ["reproduce", "--out", f"{not_utf8}/table", *tiny_run_options],
    ]
    for command in commands:
        assert main(command) == 2
        captured = capsys.readouterr()
        rule = "kgan: error: TensorFlow reads and writes only where the whole path is UTF-8. Received: "
        assert captured.err.startswith(rule + one_line(not_utf8))
        assert captured.err.count("\n") == 1
        assert captured.out == ""
    assert sorted(os.listdir(not_utf8)) == before
    assert tensorflow_path("/a/日本") == "/a/日本"


def test_classes_of_any_name_are_learned_under_it(tmp_path):
    for i, name in enumerate(name for name in NAMES if len(name) < 100 and "/" not in name and name != STRAY):
        (tmp_path / name).mkdir()
        write_wav(tmp_path / name / "a.wav", np.sin(2 * np.pi * (200 + 20 * i) * np.arange(1024) / 16000), 16000)
    sounds = load_folder(tmp_path, length_samples=1024)
    expected = sorted(printable(each) for each in os.listdir(tmp_path))
    assert sounds.label_names["class"] == expected
