"""`python` as the pages call it, made small: a few notes, networks of width 2, a few iterations, a classifier of one epoch."""

import json
import os
import runpy
import sys
from pathlib import Path

TRAINED = [
    "--steps", os.environ.get("PAGES_STEPS", "3"), "--network.dim", "2", "--training.batch_size", "4", "--precision", "float32",
    "--training.log_steps", "1", "--training.preview_count", "2", "--scores.sounds", "50",
]  # fmt: skip
SCORED = ["--count", "20"]
SMALLER = {"train": TRAINED, "evaluate": SCORED, "reproduce_table": [*SCORED, *TRAINED]}


def main(program, *arguments):
    if program == "-m" and arguments[0] in ("pytest", "venv"):  # the first is what runs this, the second is not needed
        return
    if program == "-c":
        exec(arguments[0], {"__name__": "__main__"})
        return
    assert len(json.loads(os.environ.pop("TF_CONFIG", '{"cluster": {"worker": [0, 1]}}'))["cluster"]["worker"]) == 2
    from kgan.data import load
    from kgan.evaluation import classifier

    all_notes, classifier.EPOCHS = load.load_notes, 1

    def a_few_notes(*split_and_clips):
        notes = all_notes(*split_and_clips)
        return notes.subset(range(0, len(notes), len(notes) // 100))

    load.load_notes = a_few_notes
    sys.argv = [program, *arguments, *SMALLER.get(Path(program).stem, [])]
    runpy.run_path(program, run_name="__main__")


main(*sys.argv[1:])
