"""The command line of clusters: `streame node` and `streame cluster`."""
