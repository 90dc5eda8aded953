"""Grouping verbs become keyed operators."""
