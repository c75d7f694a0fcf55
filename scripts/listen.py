"""Run `kgan listen` from a checkout; see `--help`."""

import sys

from kgan.cli import main

sys.exit(main(["listen", *sys.argv[1:]]))
