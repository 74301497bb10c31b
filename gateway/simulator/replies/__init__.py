"""What a simulated model says: understood, worded, measured in tokens, and written for the wire.

Everything is a function of the conversation and the model, so a request that is sent again gets the same
words.
"""
