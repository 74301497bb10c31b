"""Message batches: every item assigned and rewritten like the message it is, every result put back."""
