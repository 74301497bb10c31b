"""What one process has counted of one migration, and how the counts of all processes are added up."""

from gateway.core.counts.book import stat_bucket
from gateway.core.counts.counter import Counts
from gateway.core.counts.docs import merge_run, merge_stage

__all__ = ["Counts", "merge_run", "merge_stage", "stat_bucket"]
