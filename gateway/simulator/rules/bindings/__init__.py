"""Thinking blocks: what a block is bound to when it is made, and what becomes of it when it comes back.

`stamps` writes and reads signatures, `prefix` digests the conversation before a block, `readers` knows who
reads whose blocks, `checks` judges the blocks of a request, `shown` says what is left of the request for the
model.
"""
