"""What is measured of a run, each explained in prose before it is computed."""
