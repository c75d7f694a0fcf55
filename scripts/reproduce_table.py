"""Run `kgan reproduce` from a checkout; see `--help`."""

import sys

from kgan.cli import main

sys.exit(main(["reproduce", *sys.argv[1:]]))
