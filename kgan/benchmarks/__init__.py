"""Benchmarks that produce the figures in README."""
