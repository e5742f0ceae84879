"""Weakly supervised methods, one module each; `pcc.methods.base` is what they have in common."""
