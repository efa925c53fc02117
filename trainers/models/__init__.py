"""Networks, each written for one run: pure functions of a dict of parameters. `trainers.lanes` adds the lane axis."""
