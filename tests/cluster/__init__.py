"""Tests of the cluster mode, against real services."""
