"""Counting pixels against ground-truth masks."""
