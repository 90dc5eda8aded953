"""Bytes to frames and back, one file per format."""
