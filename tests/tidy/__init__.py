"""The rules of the house, as pure functions over source text; `tests/test_tidy.py` applies them to every file."""
