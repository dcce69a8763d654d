"""Tables, progress, plots, pictures and the report."""
