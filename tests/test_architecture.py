"""The layout: who imports whom, and what does not import TensorFlow."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NEUTRAL = {"__version__", "config", "errors", "files", "labels", "noise", "quiet", "strategy", "text"}  # anyone may import them
LAYERS = [  # each may import what stands above it
    {"audio", "midi_tracks"},
    {"representations", "data", "networks", "midi_file"},
    {"gans"},
    {"synthesizer"},
    {"evaluation", "midi", "bulk"},
    {"callbacks", "serving"},
    {"training"},
    {"benchmarks", "demo"},
    {"commands"},
    {"cli"},
]


def layer_of(part):
    return next(i for i, layer in enumerate(LAYERS) if part in layer)


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative name"
            if node.module == "kgan":
                yield from (alias.name for alias in node.names)
            elif node.module.startswith("kgan."):
                yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("kgan."))


def test_imports_point_one_way():
    seen = 0
    for path in sorted((ROOT / "kgan").rglob("*.py")):
        part = path.relative_to(ROOT / "kgan").parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        for imported in imports_of(path):
            seen += 1
            if imported in NEUTRAL or imported == part:
                continue
            assert part not in NEUTRAL, f"{path.name} is neutral and imports {imported}"
            assert layer_of(imported) < layer_of(part), f"{path} imports {imported}"
    assert seen > 50


def test_only_the_synthesizer_decodes():
    callers = {
        path.name
        for path in (ROOT / "kgan").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "decode" and "representation" in ast.dump(node.value)
    }
    assert callers == {"synthesizer.py"}


def test_gans_use_private_names_of_keras_and_tensorflow_for_replicas_alone():
    """A private name of an object that is not `self`, or a module that says that it is not for others."""
    found = {
        (path.name, node.attr)
        for path in (ROOT / "kgan" / "gans").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and node.attr != "__init__"
        if not (isinstance(node.value, ast.Name) and node.value.id == "self")
    }
    assert found == {("replicas.py", "_maybe_symbolic_build"), ("replicas.py", "_all_reduce_sum_gradients")}


@pytest.mark.parametrize(
    "code",
    [
        "import kgan",
        "import kgan.cli\ntry: kgan.cli.main(['train', '--help'])\nexcept SystemExit: pass",
        "import kgan.cli\nassert kgan.cli.main(['train', '--network.dmi', '3']) == 2",
    ],
)
def test_tensorflow_is_not_imported_before_work_starts(code):
    check = "\nimport sys; assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", code + check], check=True, capture_output=True)
