"""Bytes in and out: the HTTP client, headers, bodies, and clients that hang up."""
