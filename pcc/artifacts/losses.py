"""Training losses on disk: losses.csv, a row per step."""

LOSSES = "losses.csv"
LOSS_COLUMNS = ("phase", "epoch", "step", "lr", "loss")  # after them, a column for each part of the loss
