"""What the request's headers say."""
