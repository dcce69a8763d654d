"""The report of a run: one page of HTML, every number on it taken from the ledger.

`facts.py` reads all numbers into one structure, `figures.py` draws, `page.py` writes both down.
"""

from discovery.report.facts import Report, collect
from discovery.report.page import page
from discovery.report.write import write_report

__all__ = ["Report", "collect", "page", "write_report"]
