"""What the public names promise: each argument has a type and is told of, and nothing is told that there is not."""

import dataclasses
import importlib
import inspect
import re
import typing

import pytest

import kgan

MODULES = {  # what is public of each module; None is its `__all__`
    "kgan": [
        *("GANSynthesizer", "Labels", "SoundMaker", "Synthesizer", "export_run", "interpolate", "load", "perform", "train"),
    ],
    "kgan.callbacks": None,
    "kgan.data": None,
    "kgan.evaluation": None,
    "kgan.gans": None,
    "kgan.networks": None,
    "kgan.representations": None,
    "kgan.serving": None,
}
METHODS = (  # of those classes that have them
    *("adapt", "compile", "decode", "encode", "example_shape", "levels_db"),  # GANs and representations
    *("generate", "write_wavs", "close", "play", "chosen_labels", "refresh"),  # clients and synthesizers
    *("of", "check", "completed", "cross_entropy", "described", "in_words", "listed", "named", "one_hot", "parsed"),  # labels
    *("batches", "relabelled", "subset", "waveforms"),  # sounds
    *("restore", "save", "save_best", "score", "show", "spent", "steps_in_all"),  # callbacks
)


def public():
    """Return the public functions and classes by their names, and the methods that users call, `Class.method`."""
    found = {}
    for module_name, names in MODULES.items():
        module = importlib.import_module(module_name)
        found |= {name: getattr(module, name) for name in names or module.__all__}
    for name, value in list(found.items()):
        if inspect.isclass(value):
            found |= {f"{name}.{method}": getattr(value, method) for method in METHODS if defined_here(value, method)}
    return found


def defined_here(owner, method):
    return any(method in vars(each) and each.__module__.startswith("kgan.") for each in owner.__mro__)


PUBLIC = public()


def function_of(value):
    return value.__init__ if inspect.isclass(value) else value.fget if isinstance(value, property) else value


def parameters_of(value):
    if inspect.isclass(value) and not (getattr(function_of(value), "__module__", None) or "").startswith("kgan."):
        return {}  # made by a subclass, or by nobody
    parameters = inspect.signature(function_of(value)).parameters.values()
    return {each.name: each for each in parameters if each.name != "self"}


def docstring_of(name):
    """Return a docstring; of a method that has none, that of the class which it overrides it of."""
    return inspect.getdoc(PUBLIC[name]) or ""


def told(docstring, title="Args"):
    """Return the names of the arguments that a docstring tells of."""
    section = re.search(rf"^{title}:\n((?: {{4,}}.*\n|\n)*)", docstring + "\n", flags=re.MULTILINE)
    entries = re.findall(r"^ {4}(\*{0,2}\w+(?:, \*{0,2}\w+)*):", section[1] if section else "", flags=re.MULTILINE)
    return {name.strip("* ") for entry in entries for name in entry.split(",")}


def told_elsewhere(name):
    """Return the names of the arguments that another docstring explains, as in "Keyword arguments of `Other`"."""
    found = set()
    for other in re.findall(r"(?:those|rguments) of `([\w.]+)`", docstring_of(name)):
        module = importlib.import_module(function_of(PUBLIC[name]).__module__)
        owner, _, attribute = other.partition(".")
        target = PUBLIC.get(other, getattr(module, owner, None))
        target = getattr(target, attribute, target) if attribute else target
        found |= told(inspect.getdoc(target) or "")
    return found


def test_docstrings_are_read():
    arguments = "    one: a number:\n        and more: this.\n    two, *three: likewise.\n"
    docstring = f"Do it.\n\nArgs:\n{arguments}\nReturns:\n    four: five.\n"
    assert told(docstring) == {"one", "two", "three"}
    assert told("Return it.") == set()
    assert told(docstring.replace("Args", "Attributes"), "Attributes") == {"one", "two", "three"}
    assert "n_critic" in told_elsewhere("DCGAN")


@pytest.mark.parametrize("name", PUBLIC)
def test_each_argument_has_a_type_and_is_told_of(name):
    title = "Attributes" if dataclasses.is_dataclass(PUBLIC[name]) else "Args"
    parameters, here = parameters_of(PUBLIC[name]), told(docstring_of(name), title)
    if "." in name and not function_of(PUBLIC[name]).__doc__:  # the overridden one may take labels that this one lacks
        here -= {"labels"} - set(parameters)
    untyped = [each.name for each in parameters.values() if each.annotation is inspect.Parameter.empty]
    assert untyped == []
    assert set(parameters) - here - told_elsewhere(name) == set()
    assert here - set(parameters) == set(), "told of, and not there"


@pytest.mark.parametrize("name", PUBLIC)
def test_the_types_are_there(name):
    """Those that are written as text, too."""
    types = typing.get_type_hints(function_of(PUBLIC[name]))
    assert inspect.isclass(PUBLIC[name]) or "return" in types


@pytest.mark.parametrize("name", PUBLIC)
def test_the_docstring_begins_with_a_sentence_and_tells_what_is_returned(name):
    docstring, value = docstring_of(name), PUBLIC[name]
    first, *rest = docstring.splitlines()
    assert first.endswith(".")
    assert not rest or rest[0] == ""
    returned = typing.get_type_hints(function_of(value)).get("return", type(None))
    if not inspect.isclass(value) and not isinstance(value, property) and returned is not type(None):
        assert re.search(r"^(Returns|Yields):$", docstring, flags=re.MULTILINE)


def test_all_of_the_package_is_held_to_this():
    packages = {name.removeprefix("kgan.") for name in MODULES}
    assert set(kgan.__all__) - set(PUBLIC) - packages - {"__version__"} == set()
