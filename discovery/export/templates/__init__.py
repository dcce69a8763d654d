"""Source that exported files are put together from: `discovery/export/source.py` takes definitions out of it.

These are modules, so that linters and readers see them; but nothing imports them. Their constants are
examples, in whose place a file has its own.
"""
