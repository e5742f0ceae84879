"""Disable needless rounds of Snakemake's scheduler.

With the default limit of 100 jobs per second, every scheduling round triggers another one a second later, and every
finished job adds such a chain. After 100 of 200 shards, 100 rounds per second read the sizes of all inputs and occupy a
core. Without the limit, rounds run when a job ends. See docs/decisions/0013-scheduler.md.
"""

from typing import Any

DEFAULT_LIMIT = (100, 1.0)  # jobs and seconds: Snakemake's default --max-jobs-per-timespan


def without_needless_rounds(scheduler: Any) -> None:
    """Remove the default limit; keep one set by the user."""
    limiter = getattr(scheduler, "job_rate_limiter", None)
    if limiter is not None and (limiter.max_jobs, limiter.timespan) == DEFAULT_LIMIT:
        scheduler.job_rate_limiter = None
