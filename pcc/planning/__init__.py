"""What `pcc init` and `pcc doctor` know: a look at a folder, its doubts, costs, a proposed configuration."""
