"""Sub-commands that no rule of the workflow calls."""
