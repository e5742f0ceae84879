"""Snakemake's scheduler is kept from looking at all ready jobs again and again while they wait for a free core.

It limits jobs to 100 a second unless told otherwise, and each look at the ready jobs orders another a second later,
also one that starts nothing. Every job that ends adds one more such chain: after 100 of 200 shards it looks 100 times a
second, reads the sizes of all inputs of all ready jobs each time, and fills a core that jobs could have. With no limit
it looks when a job has ended, which is all it takes. See docs/decisions/0013-scheduler.md.
"""

from typing import Any

DEFAULT_LIMIT = (100, 1.0)  # jobs and seconds: Snakemake's own, of --max-jobs-per-timespan


def without_needless_rounds(scheduler: Any) -> None:
    """Take the default limit away; one that the user has chosen stays."""
    limiter = getattr(scheduler, "job_rate_limiter", None)
    if limiter is not None and (limiter.max_jobs, limiter.timespan) == DEFAULT_LIMIT:
        scheduler.job_rate_limiter = None
