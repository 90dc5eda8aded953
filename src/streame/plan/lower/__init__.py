"""Lowering: from the plan to the physical graph. Importing it makes every kind of node known."""

from streame.plan.lower import clock_time, grouping, joins, keyed, top_k, unique, user, windows
from streame.plan.lower.job import lower

__all__ = ["clock_time", "grouping", "joins", "keyed", "lower", "top_k", "unique", "user", "windows"]
