"""Refinement of localization maps: by image colours, by learned boundaries, by feature affinity."""
