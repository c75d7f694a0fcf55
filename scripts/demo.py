"""Run `kgan demo` from a checkout; see `--help`."""

import sys

from kgan.cli import main

sys.exit(main(["demo", *sys.argv[1:]]))
