"""What users hold: the Python functions and the command line."""
