"""Pictures of runs, of what they found, of suites and of levels: what is drawn. `plots.py` draws arrays."""
