"""Comparing checkpoints without Ray: what is compared, the measuring, the table, and which photographs to show."""

from raycolor.evaluation.measure import Evaluator, Measured, batch_size
from raycolor.evaluation.picks import Pick, choose, rank_correlation
from raycolor.evaluation.plan import FLOORS, DatasetPlan, Subject, input_sizes, short_names, subject
from raycolor.evaluation.table import COLUMNS, Column, Row, interval_text, table_csv, table_markdown

__all__ = [
    "COLUMNS",
    "FLOORS",
    "Column",
    "DatasetPlan",
    "Evaluator",
    "Measured",
    "Pick",
    "Row",
    "Subject",
    "batch_size",
    "choose",
    "input_sizes",
    "interval_text",
    "rank_correlation",
    "short_names",
    "subject",
    "table_csv",
    "table_markdown",
]
