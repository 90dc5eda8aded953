"""The services that tests need, started on loopback without containers; `make services` starts them by hand."""
