"""What outlives a process: ports, and one SQLite and one Redis implementation behind them.

Both implementations pass one contract suite. Readers hold a frozen snapshot in memory, so that the data path
never waits for the store and goes on without it.
"""
