"""The search loop and what it decides: jobs of requests, early stopping, selection."""
