"""The rules, told to people: one request explained, and the table of what becomes of which feature."""
