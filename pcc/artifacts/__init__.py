"""What passes between stages: one file per format, written atomically."""
