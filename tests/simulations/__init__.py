"""What the statistics of `results.critical` and `results.descent` hold to, on simulated sweeps with known truth."""
