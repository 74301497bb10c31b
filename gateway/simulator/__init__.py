"""The rehearsal: a Messages API that enforces each model's rules, with faults on demand.

It waits for nobody. The demo, the tests and an operator's rehearsal send it the same bytes that the real API
would get.
"""
