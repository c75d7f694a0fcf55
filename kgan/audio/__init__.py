"""Samples, hertz and files. Imports nothing else of kgan but its errors."""
