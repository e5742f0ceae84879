"""Workflow stages: paths in, paths out, no arithmetic. Each rule has a module of the same name."""
