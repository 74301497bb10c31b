"""What holds for every test: loopback only, and properties that give the same verdict on every run."""

from hypothesis import settings

from tests.support import loopback

loopback.forbid_other_hosts()

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")
