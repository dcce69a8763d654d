"""What a search is, as frozen dataclasses: one module for each method, one for the search."""
