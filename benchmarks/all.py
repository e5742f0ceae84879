"""Every claim of speed, one script after another; machine, versions and figures go to benchmarks/results.json.

    python benchmarks/all.py [NAME ...]

Without names all of `SCRIPTS`, some 20 minutes on two cores with nothing beside them. Each script runs in a process of
its own and can be run by itself; exit code 1 where one of them missed a target.
"""

import json
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from pcc.runtime.files import read_json, write_json
from pcc.runtime.hardware import device

SCRIPTS = ["dense_crf", "localization", "stored_maps", "evaluation", "training_step", "image_pipeline", "workflow"]
RESULTS = Path(__file__).with_name("results.json")
PACKAGES = ("torch", "torchvision", "timm", "numpy", "pydensecrf2", "snakemake")


def machine() -> dict[str, Any]:
    """What the figures hold for."""
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": len(names),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "device": device(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def run(name: str) -> dict[str, Any]:
    """One script: what it printed goes through, its last line is returned."""
    script = Path(__file__).with_name(f"{name}.py")
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    last = ""
    for line in process.stdout:
        if not line.startswith("{"):
            print(line, end="", flush=True)
        last = line
    code = process.wait()
    found = json.loads(last) if last.startswith("{") else {"claims": [], "note": last.strip()}
    return {"exit_code": code, "took_seconds": round(time.monotonic() - started, 1), **found}


def main() -> None:
    """Run the scripts; those not asked for keep their earlier figures where the machine is the same."""
    names = sys.argv[1:] or SCRIPTS
    here = machine()
    before = read_json(RESULTS) if RESULTS.exists() else {}
    results = before.get("benchmarks", {}) if before.get("machine") == here else {}
    failed = []
    for name in names:
        print(f"== {name}", flush=True)
        results[name] = run(name)
        failed += [name] * (results[name]["exit_code"] != 0)
        write_json(RESULTS, {"date": datetime.now(UTC).date().isoformat(), "machine": here, "benchmarks": results})
    print(f"written: {RESULTS}")
    if failed:
        sys.exit(f"missed a target, or failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
