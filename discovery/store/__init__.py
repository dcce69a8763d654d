"""A run's folder: its ledger, its arrays and its uses of held-out tasks."""
