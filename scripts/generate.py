"""Run `kgan generate` from a checkout; see `--help`."""

import sys

from kgan.cli import main

sys.exit(main(["generate", *sys.argv[1:]]))
