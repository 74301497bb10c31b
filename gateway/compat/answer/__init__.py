"""The answer, put back into the shape that the application expects."""
