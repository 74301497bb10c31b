"""The data path: one request, from the client's bytes to the last byte of the answer.

Resolve, recollect, rewrite, forward, relay, account. It awaits the client and the upstream; what it needs to
know of a migration is in the snapshot in memory, and what it needs to know of a conversation it waits for no
longer than a deadline.
"""
