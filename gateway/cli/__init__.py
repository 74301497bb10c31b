"""The `gateway` command: serving, steering a migration on a running gateway, and drawing what it answers."""
