"""Figures: pictures of masks and maps, charts of numbers. Arrays in, PNG out; no stage's arithmetic here."""
