"""Files passed between stages, one module per format; writes are atomic."""
