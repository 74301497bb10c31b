"""The two stores behind the ports: SQLite for one machine, Redis for a fleet."""
