"""Sources that read files: which files, their bytes, and the rows in them."""
