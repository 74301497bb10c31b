"""The control plane: the admin API, the rollout's tick, notifications and incidents.

It awaits the store and never the traffic. One process in the fleet holds the lease and moves weights; every
change is one compare-and-set that writes state, audit event and publication together.
"""
