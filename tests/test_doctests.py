"""The examples in docstrings are run, and print what they say."""

import doctest
import importlib
import io
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import kgan

ROOT = Path(kgan.__file__).parent
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
NOT_RUN = {  # and why
    "kgan.midi": "it needs a trained synthesizer and a MIDI file",
    "kgan.serving.client": "it needs a server",
    "kgan.synthesizer": "it needs a trained model, which a test of the README loads",
}
EXAMPLE = re.compile(r"^\s*>>> ", flags=re.MULTILINE)
TEXTS = {
    ".".join(("kgan", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path.read_text(
        encoding="utf-8"
    )
    for path in sorted(ROOT.rglob("*.py"))
}
WITH_EXAMPLES = [name for name, text in TEXTS.items() if EXAMPLE.search(text)]


def examples_of(module):
    """Return a module's doctests. Each sees the module's names and these."""
    names = {"keras": keras, "kgan": kgan, "np": np, "tf": tf, **vars(module)}
    found = doctest.DocTestFinder(exclude_empty=True).find(module, module.__name__, module, names)
    return [each for each in found if each.examples]


def outcome(tests):
    """Return how many examples were run and how many failed, and what is to be said of these."""
    runner, said = doctest.DocTestRunner(verbose=False, optionflags=OPTIONS), io.StringIO()
    for test in tests:
        runner.run(test, out=said.write)
    return runner.tries, runner.failures, said.getvalue()


@pytest.mark.parametrize("name", [name for name in WITH_EXAMPLES if name not in NOT_RUN])
def test_examples_print_what_they_say(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # what they write
    tests = examples_of(importlib.import_module(name))
    assert sum(len(test.examples) for test in tests) == len(EXAMPLE.findall(TEXTS[name])), "some are not found"
    _, failures, said = outcome(tests)
    assert not failures, said


def test_what_is_not_run_is_there():
    assert set(NOT_RUN) <= set(WITH_EXAMPLES)
    assert len(WITH_EXAMPLES) - len(NOT_RUN) > 10


def test_an_example_that_is_not_true_fails():
    text = ">>> np.zeros(2).shape\n(2,)\n>>> np.zeros(2).shape\n(3,)\n"
    tries, failures, said = outcome([doctest.DocTestParser().get_doctest(text, {"np": np}, "wrong", None, 0)])
    assert (tries, failures) == (2, 1)
    assert "Expected:\n    (3,)\nGot:\n    (2,)" in said
