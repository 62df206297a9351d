"""The benchmark behind scripts/bench: nstrace, its peers and the floors on one workload, side by side."""
