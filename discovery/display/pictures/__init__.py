"""Pictures of runs, comparisons and what was found."""
