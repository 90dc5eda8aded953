"""Simulations of whole clusters: the real code in a world that a seed draws."""
