"""Pictures of the site that lie elsewhere in the repository."""

from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent.parent
PICTURES = {"beside.png": "saved_models/notes_fast/beside.png", "board.png": "kgan/docs/board.png"}


def on_files(files, config):
    for name, place in PICTURES.items():
        files.append(File.generated(config, name, content=(ROOT / place).read_bytes()))
    return files
