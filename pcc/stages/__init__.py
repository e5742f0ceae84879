"""Stages of the workflow: paths in, paths out, no arithmetic; one module per rule, of the same name."""
