"""The config of a search as frozen dataclasses: one module for each method, one for the search."""
