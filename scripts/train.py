"""Run `kgan train` from a checkout; see `--help`."""

import sys

from kgan.cli import main

sys.exit(main(["train", *sys.argv[1:]]))
