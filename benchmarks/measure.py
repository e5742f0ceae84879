"""What the benchmarks share: ways of doing one thing timed in turn, and the table and JSON that each ends with."""

import json
import logging
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch


@dataclass
class Claim:
    """One line of the table.

    Attributes:
        name: what was measured.
        value: the measured ratio, or seconds, or share; ``better`` says which way is good.
        target: what it has to reach.
        better: ``higher`` or ``lower``.
        proven: whether the results of the two sides are equal, as far as the claim asks.
        seconds: of each side, every round.
        facts: whatever else a reader needs, agreement above all.
    """

    name: str
    value: float
    target: float
    better: str = "higher"
    proven: bool = True
    seconds: Mapping[str, list[float]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reached(self) -> bool:
        """Whether the target is met by equal results."""
        met = self.value >= self.target if self.better == "higher" else self.value <= self.target
        return met and self.proven


def in_turn(ways: Mapping[str, Callable[[], object]], rounds: int = 5, warm_up: bool = True) -> dict[str, list[float]]:
    """Seconds that each way takes, in every round.

    The ways take turns, so that a slow minute of the machine meets all of them alike.

    Args:
        ways: what is compared, by name.
        rounds: measurements of each.
        warm_up: whether each runs once before, unmeasured.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + warm_up):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if number >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(seconds: Mapping[str, list[float]], theirs: str, ours: str) -> float:
    """How many times faster ours is: the median over the rounds, each compared with its own neighbour."""
    pairs = zip(seconds[theirs], seconds[ours], strict=True)
    return statistics.median(their / our for their, our in pairs)


def end(claims: Iterable[Claim]) -> None:
    """Print the table and, as the last line, JSON for `benchmarks/all.py`; exit code 1 where a target is missed."""
    claims = list(claims)
    width = max(len(claim.name) for claim in claims)
    for claim in claims:
        sign = "≥" if claim.better == "higher" else "≤"
        verdict = "reached" if claim.reached else "MISSED" if claim.proven else "NOT EQUAL"
        times = ", ".join(f"{name} {describe(runs)}" for name, runs in claim.seconds.items())
        facts = ", ".join(f"{name} {value}" for name, value in claim.facts.items())
        print(f"{claim.name:{width}}  {claim.value:8.3g} (target {sign} {claim.target:g}, {verdict})  {times}")
        if facts:
            print(f"{'':{width}}  {facts}")
    rows = [asdict(c) | {"reached": c.reached, "spread": spreads(c.seconds)} for c in claims]
    print(json.dumps({"threads": torch.get_num_threads(), "claims": rows}))
    sys.exit(not all(claim.reached for claim in claims))


def spreads(seconds: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    """Median, least and most seconds of each side."""
    return {
        name: {"median": statistics.median(runs), "min": min(runs), "max": max(runs)}
        for name, runs in seconds.items()
        if runs
    }


def describe(runs: list[float]) -> str:
    """Median and range, as in ``1.23 s (1.20-1.31)``."""
    return f"{statistics.median(runs):.3g} s ({min(runs):.3g}-{max(runs):.3g})"


def quietly() -> None:
    """No log lines between the lines of a table."""
    logging.disable(logging.WARNING)
