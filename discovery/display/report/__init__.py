"""The report of a run: one page of HTML, every number on it taken from the ledger.

`facts.py` reads all numbers into one structure, `figures.py` draws, `page.py` writes both down.
"""

from discovery.display.report.facts import RunFacts, collect
from discovery.display.report.page import page
from discovery.display.report.write import write_report

__all__ = ["RunFacts", "collect", "page", "write_report"]
