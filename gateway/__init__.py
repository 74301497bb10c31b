"""A gateway that moves an application from one Claude model to the next.

The application points its `base_url` here and changes nothing else. Every conversation is assigned to the
control or the candidate model, the request is rewritten so that the chosen model accepts it, both arms are
measured, and the rollout climbs, waits or rolls back by itself.
"""

__version__ = "0.1.0"
