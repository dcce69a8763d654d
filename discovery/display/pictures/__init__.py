"""Pictures of runs, comparisons and found algorithms."""
