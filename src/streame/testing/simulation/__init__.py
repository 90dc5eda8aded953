"""A simulated world in which the real code of a cluster runs: threads, time, network, etcd and store are of its own.

Everything that happens is drawn from one seed, and the same seed gives the same run. Needs the package `greenlet`.
"""
