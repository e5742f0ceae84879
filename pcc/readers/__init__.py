"""Readers of data sets: the module that `dataset.format` names."""
