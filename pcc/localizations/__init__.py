"""From a trained method to localization maps, one way per module; `pcc.localizations.cam` is what they build on."""
