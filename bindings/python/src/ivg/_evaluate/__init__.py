"""Comparing the methods of guided generation by a gold scorer."""

from .figure import plot_methods
from .methods import METHODS, Guides, Method, SearchOptions
from .run import EvaluationOptions, evaluate

__all__ = ["METHODS", "EvaluationOptions", "Guides", "Method", "SearchOptions", "evaluate", "plot_methods"]
