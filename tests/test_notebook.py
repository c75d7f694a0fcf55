"""The notebook runs from top to bottom."""

from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest

from kgan.serving.saved_model import exported_step
from kgan.training.run_folder import load

NOTEBOOK = Path(__file__).parent.parent / "scripts" / "colab.ipynb"


def executed(folder, steps):
    """Return the outputs of each code cell, of a run of so many iterations of the smallest networks."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        small = f'"training.steps": {steps}, "repr": "wave", "network.dim": 2, "network.kernel_size": 25'
        cell.source = cell.source.replace('"training.minutes": MINUTES', small)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def shown(outputs):
    """Return what was shown, pictures and players."""
    return [each.data for each in outputs if each.output_type == "display_data"]


def is_player(data):
    return "audio/wav;base64" in data.get("text/html", "")


def test_it_trains_shows_keeps_and_exports(tmp_path):
    *_, training, listening = executed(tmp_path, steps=2)
    sheet, *players = shown(training)
    assert "image/png" in sheet
    assert [is_player(data) for data in players] == 4 * [True]
    assert [is_player(data) for data in shown(listening)] == 3 * [True]
    run = tmp_path / "runs" / "notebook"
    assert exported_step(run / "saved_model") == 2
    asked = {"pitch": 60, "family": 2}
    sounds = [load(path).generate(np.ones((2, 64)), asked) for path in (run, run / "saved_model")]
    np.testing.assert_allclose(*sounds, atol=1e-4)


@pytest.mark.long
def test_run_again_it_goes_on(tmp_path):
    executed(tmp_path, steps=2)
    executed(tmp_path, steps=3)
    run = tmp_path / "runs" / "notebook"
    assert sorted(path.name for path in (run / "samples").iterdir()) == ["step_00000002", "step_00000003"]
    assert exported_step(run / "saved_model") == 3


def test_it_is_kept_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")
