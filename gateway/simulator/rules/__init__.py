"""The judge: whether a model accepts a request, in the API's own words.

Written from the reference alone. It shares nothing with the gateway's rewriting but the catalogue's rows, so
that a rewrite which misses a rule meets it here.
"""
