"""A run's folder: its ledger, its arrays and what was looked at."""
