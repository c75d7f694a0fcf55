"""A web page to play a generator in the browser; needs the extra `demo`."""

from kgan.demo.instrument import Instrument, Timbre
from kgan.demo.server import build_app, serve

__all__ = ["Instrument", "Timbre", "build_app", "serve"]
