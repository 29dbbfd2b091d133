"""Reports of runs for people: tables in the terminal, and `report.html`."""

from rlaif.reporting.html import write_report
from rlaif.reporting.terminal import summary_table

__all__ = ["summary_table", "write_report"]
