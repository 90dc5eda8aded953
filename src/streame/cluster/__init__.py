"""Many processes that run one plan: etcd finds the nodes and elects the leader, gRPC carries the records."""
