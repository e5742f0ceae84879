"""Data sets: one module per format, each with ``read(output, **settings) -> Manifest``."""
