"""Localization maps of a trained method; every module builds on `pcc.localizations.cam`."""
