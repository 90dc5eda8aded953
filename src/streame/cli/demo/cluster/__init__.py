"""The demo on a cluster: three nodes on this machine, of which the one that leads is killed."""
