"""The search loop, the jobs of requests, early stopping and selection."""
