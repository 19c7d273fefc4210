"""From results on disk to outcomes, statistics, a table and figures. Imports no JAX."""

from grokjax import signals

if signals.being_run():
    signals.watch()  # before the imports below, which take seconds

from analysis.chosen import figure
from analysis.draw import draw_everything
from analysis.load import ResultsError, load
from analysis.phases import PhaseRule, classify, probabilities
from analysis.statistics import kaplan_meier_median, median_time, summarise, wilson
from analysis.study import Definitions, Study, make_study
from analysis.table import write_table
from analysis.weights import export_weights

__all__ = [
    "Definitions",
    "PhaseRule",
    "ResultsError",
    "Study",
    "classify",
    "draw_everything",
    "export_weights",
    "figure",
    "kaplan_meier_median",
    "load",
    "make_study",
    "median_time",
    "probabilities",
    "summarise",
    "wilson",
    "write_table",
]
