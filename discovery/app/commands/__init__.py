"""What the command line does, one verb a file: a frozen dataclass of its arguments, and `main(argv)`.

`discovery/app/command_line.py` picks the verb; nothing here imports jax before it is needed.
"""
