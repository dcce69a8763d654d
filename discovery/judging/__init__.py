"""Comparing algorithms on held-out seeds and tasks."""
