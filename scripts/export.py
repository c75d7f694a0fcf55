"""Run `kgan export` from a checkout; see `--help`."""

import sys

from kgan.cli import main

sys.exit(main(["export", *sys.argv[1:]]))
