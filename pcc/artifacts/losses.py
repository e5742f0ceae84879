"""losses.csv: one row per training step."""

LOSSES = "losses.csv"
LOSS_COLUMNS = ("phase", "epoch", "step", "lr", "loss")  # followed by one column per loss term
