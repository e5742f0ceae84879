"""Stage `clusters`: the class names → clusters.json, an exact partition of them by one provider."""

import sys
import time
from pathlib import Path
from typing import Any

from pcc.artifacts.clusters import write_clusters
from pcc.artifacts.provenance import write_provenance
from pcc.clusters.partition import validate
from pcc.clusters.providers import Task
from pcc.data.manifest import Manifest
from pcc.runtime.errors import call_with
from pcc.runtime.plugins import load_attribute


def clusters(
    manifest: Path,
    output: Path,
    *,
    provider: str,
    replay: Path | None = None,
    print_prompt: bool = False,
    threads: int = 1,  # noqa: ARG001 - every stage has it
    code: str = "",
    **settings: Any,
) -> None:
    """Ask a provider for clusters, check them and write them.

    Args:
        manifest: the data set's manifest.csv.
        output: the clusters.json to write, provenance.json beside it.
        provider: a module of `pcc.clusters.providers`.
        replay: the transcript of an earlier run, to be repeated without asking anyone.
        print_prompt: write nothing, ask nobody; show on standard output what would be asked first.
        threads: unused.
        code: fingerprint of the stage's code, for the provenance.
        settings: the provider's settings.

    Raises:
        InputError: the provider's settings or its answer cannot be used; nothing is silently repaired.
    """
    started = time.monotonic()
    dataset = Manifest.read(manifest).dataset
    task = Task(dataset.classes, dataset.taxonomy, output.parent, replay)
    if print_prompt:
        preview = load_attribute("pcc.clusters.providers", provider, "preview", "print-prompt")
        sys.stdout.write(call_with(preview, settings, f"clusters ({provider})", task=task) + "\n")
        return
    propose = load_attribute("pcc.clusters.providers", provider, "propose", "clusters.provider")
    proposal = call_with(propose, settings, f"clusters ({provider})", task=task)
    if proposal.clusters:  # no clusters at all is the provider's right to say
        validate(proposal.clusters, dataset.classes)
    found = [{"name": name, "members": group} for name, group in proposal.clusters.items()]
    write_clusters(output, found, provider=provider, settings=settings, **proposal.details)
    write_provenance(
        output.with_name("provenance.json"),
        inputs=[manifest.with_name("dataset.json"), *([replay] if replay else [])],
        started=started,
        code=code,
        settings={"provider": provider, **settings},
    )
