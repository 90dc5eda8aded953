"""Keyed state."""
