"""A small etcd client: `interface` says what can be asked, `client` asks, `lease` and `election` are built on it."""
