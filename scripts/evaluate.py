"""Run `kgan evaluate` from a checkout; see `--help`."""

import sys

from kgan.cli import main

sys.exit(main(["evaluate", *sys.argv[1:]]))
