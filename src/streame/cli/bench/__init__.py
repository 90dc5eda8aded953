"""The benchmarks: each runs Streame and a named peer on the same rows, every side in a fresh process."""
