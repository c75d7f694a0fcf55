"""Run `kgan benchmark` from a checkout; see `--help`."""

import sys

from kgan.cli import main

sys.exit(main(["benchmark", *sys.argv[1:]]))
