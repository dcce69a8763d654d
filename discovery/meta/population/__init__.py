"""Population-based evolution."""
