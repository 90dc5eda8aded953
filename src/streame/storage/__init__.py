"""Bytes that last: files on a disk, objects in a store, a log."""
