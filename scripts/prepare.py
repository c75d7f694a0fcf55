"""Run `kgan prepare` from a checkout; see `--help`."""

import sys

from kgan.cli import main

sys.exit(main(["prepare", *sys.argv[1:]]))
