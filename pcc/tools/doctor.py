"""Check the installation and data paths; estimate run time and disk use."""

import sys
import time
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from pcc.configuration import complete
from pcc.planning.estimate import Estimate, count_images
from pcc.planning.findings import data, disk, findings_table, machine, times_table, weights
from pcc.planning.measuring import measure
from pcc.runtime.errors import InputError
from pcc.runtime.progress import duration


def doctor(configfile: Path, *, images: tuple[int, int] | None = None, threads: int = 1) -> None:
    """Print findings, and the estimated time and disk use of the configuration's runs.

    The estimate times a few forward passes of each configured backbone (random weights, one image of at most 256
    pixels) and one call of each refinement on this machine, and multiplies by images, epochs, scales and seeds.
    `pcc.planning.estimate` has the formulas. Expect the order of magnitude.

    Args:
        configfile: the configuration, as Snakemake is given it.
        images: number of train and val images; None counts them.
        threads: processes that a refinement will have.

    Raises:
        InputError: one line for each problem.
    """
    started = time.monotonic()
    config = _read(configfile)
    found = [] if images else data(config)
    findings = [*machine(threads), *weights(config), *found]
    networks, refinements, problems = measure(config)
    counted = count_images(config, images)
    absent = any(problem for _, _, problem in found)
    missing = "images: none found, so nothing can be estimated; correct dataset.settings"
    none = None if counted.train or absent else missing
    findings.append(("images", f"{counted.train} train, {counted.val} val ({counted.source})", none))
    expected = Estimate(config, counted, networks, refinements, threads)
    findings.append(disk(config, expected))
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(findings_table(findings, configfile))
    if counted.train:
        console.print(
            f"\nExpected on this machine, one job after another, {len(config['seeds'])} seed(s); "
            f"an order of magnitude, measured in {duration(time.monotonic() - started)}:"
        )
        console.print(times_table(expected))
    problems += [problem for _, _, problem in findings if problem]
    if problems:
        raise InputError(problems)


def _read(configfile: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(configfile.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{configfile}: not readable as YAML ({' '.join(str(error).split())}); correct it") from error
    needed = ("dataset", "experiments")
    if not isinstance(config, dict) or any(key not in config for key in needed):
        raise InputError(f"{configfile}: not a configuration of this workflow; it needs {' and '.join(needed)}")
    return complete(config)
