"""report.html: a page of a results directory that one can click."""

from analysis.report.writing import write_report

__all__ = ["write_report"]
