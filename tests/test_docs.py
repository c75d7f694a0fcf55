"""The pages build without a warning, and what they tell to type is what there is."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kgan import cli
from kgan.commands import _overrides
from kgan.config import configs_folder, load_config, told_values

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "kgan/docs/pages").glob("*.md"))]


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def commands_in(block):
    """Return the arguments of each kgan command in a shell block."""
    found = []
    for line in block.replace("\\\n", "").splitlines():
        for part in re.split(r"&&|; do", line):
            words = shlex.split(part, comments=True)
            scripts = [i for i, word in enumerate(words) if re.fullmatch(r"scripts/\w+\.py", word)]
            if scripts:
                name = Path(words[scripts[0]]).stem
                found.append([{"reproduce_table": "reproduce"}.get(name, name), *words[scripts[0] + 1 :]])
    return found


def commands_of(page):
    return commands_in("".join(blocks(page, "bash")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_are_those_that_there_are(page):
    """Each is parsed by the command line's own parser, and the values of a run are checked as those of a run."""
    for arguments in commands_of(page):
        options = cli._parse(cli._parser(), arguments)
        if arguments[0] == "train":
            files = [configs_folder() / f"{options.preset}.yaml"] if options.preset else []
            load_config(told_values(_overrides(options), files))


def test_the_pages_hold_commands():
    assert sum(len(commands_of(page)) for page in PAGES) >= 40


def test_the_readme_s_links_lead_somewhere():
    prose = re.sub(r"```.*?```", "", PAGES[0].read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", prose)
    assert len(links) > 15
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_lines_on_conditioning():
    (block,) = blocks(ROOT / "kgan/docs/pages/conditioning.md", "python")
    names = {}
    exec(block.replace("dim=16", "dim=2"), names)
    assert names["sounds"].shape == (3, 16384)
    assert names["labels"].width == 48 + 11
    assert np.abs(names["sounds"][0] - names["sounds"][1]).max() > 0


def test_the_site_builds_without_a_warning(tmp_path):
    options = ["--strict", "-f", str(ROOT / "kgan/docs/mkdocs.yml"), "-d", str(tmp_path)]
    command = [sys.executable, "-m", "mkdocs", "build", *options]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}  # a notice on the future of the theme, not on the pages
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    reference = (tmp_path / "api" / "index.html").read_text(encoding="utf-8")
    for name in ("WGANGP", "training_dataset", "Synthesizer", "Preview", "Client"):
        assert re.search(rf'id="[\w.]+\.{name}"', reference), name
    assert not re.search(r'(src|href)="https?://(?!arxiv|squidfunk|zensical)[^"]*\.(js|css|woff2?)"', reference)
