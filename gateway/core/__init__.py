"""The nouns and the decisions.

Assignment, the rollout's state machine, gates, statistics, usage and SSE parsing: pure functions over frozen
data. Time, randomness and settings come in as arguments, so a decision can be replayed from its inputs. Every
plane speaks in these terms.
"""
