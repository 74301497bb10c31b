"""Measurements that anybody can repeat: each module prints one table, and JSON with --json."""
