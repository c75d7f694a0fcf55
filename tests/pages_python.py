"""`python` as the pages call it, made small: a few notes, networks of width 2, a few iterations, a classifier of one epoch."""

import contextlib
import json
import os
import runpy
import signal
import sys
import threading
import urllib.request
from pathlib import Path

import numpy as np

TRAINED = [
    "--steps", os.environ.get("PAGES_STEPS", "3"), "--network.dim", "2", "--training.batch_size", "4", "--precision", "float32",
    "--training.log_steps", "1", "--training.preview_count", "2", "--scores.sounds", "50",
]  # fmt: skip
SCORED = ["--count", "20"]
PLAYED = ["--port", "0", "--no-browser"]
SMALLER = {"train": TRAINED, "evaluate": SCORED, "reproduce_table": [*SCORED, *TRAINED], "demo": PLAYED}


def serve_one_page():
    """Let `demo` serve its page until it has been read once, and end it by Ctrl-C."""
    from kgan import demo

    serve, pages = demo.serve, []

    def read_and_end(address):
        try:
            pages.append(urllib.request.urlopen(address).read())
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    def serve_until_read(instrument, name, host, port, ready):
        def read_when_ready(address):
            ready(address)
            threading.Thread(target=read_and_end, args=[address]).start()

        with contextlib.suppress(KeyboardInterrupt):
            serve(instrument, name, host, port, read_when_ready)
        assert b"<title>kgan" in pages[0]

    demo.serve = serve_until_read


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
        _, of_each = np.unique([notes.labels["pitch"], notes.labels["family"]], axis=1, return_index=True)
        return notes.subset(of_each[::4])  # of every pitch and every family, 132 of the training notes

    load.load_notes = a_few_notes
    if Path(program).stem == "demo":
        serve_one_page()
    sys.argv = [program, *arguments, *SMALLER.get(Path(program).stem, [])]
    runpy.run_path(program, run_name="__main__")


main(*sys.argv[1:])
