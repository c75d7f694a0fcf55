"""Samples, hertz and files."""
