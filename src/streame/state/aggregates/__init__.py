"""The values of aggregations, for many groups at once."""

from streame.state.aggregates.state import AggregateState

__all__ = ["AggregateState"]
