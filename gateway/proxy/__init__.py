"""The data path: one request, from the client's bytes to the last byte of the answer.

Resolve, rewrite, forward, relay, account. It awaits the client and the upstream and nothing else; what it
needs to know of a migration is in the snapshot in memory.
"""
