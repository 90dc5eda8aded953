"""Pure values and arithmetic: no I/O, no threads."""
