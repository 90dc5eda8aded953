"""Checkpoints: the state of a job as files that survive its process, written in an order that a crash cannot tear."""
