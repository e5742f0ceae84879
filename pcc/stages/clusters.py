"""Stage `clusters`: the class names → clusters.json, an exact partition of them by one provider."""

import sys
from pathlib import Path
from typing import Any

from pcc.artifacts.clusters import write_clusters
from pcc.artifacts.provenance import Job
from pcc.clusters.partition import validate
from pcc.clusters.providers import Task
from pcc.data.manifest import Manifest
from pcc.runtime.errors import call_with
from pcc.runtime.plugins import load_attribute
from pcc.runtime.stage import stage


@stage
def clusters(
    manifest: Path,
    output: Path,
    *,
    provider: str,
    replay: Path | None = None,
    print_prompt: bool = False,
    **settings: Any,
) -> None:
    """Ask a provider for clusters, check them and write them.

    Args:
        manifest: the data set's manifest.csv.
        output: the clusters.json to write, provenance.json beside it.
        provider: a module of `pcc.clusters.providers`.
        replay: the transcript of an earlier run, to be repeated without asking anyone.
        print_prompt: write nothing, ask nobody; show on standard output what would be asked first.
        settings: the provider's settings.

    Raises:
        InputError: the provider's settings or its answer cannot be used; nothing is silently repaired.
    """
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
    job = Job(
        {"provider": provider, **settings},
        [manifest.with_name("dataset.json"), *([replay] if replay else [])],
    )
    found = [{"name": name, "members": group} for name, group in proposal.clusters.items()]
    write_clusters(output, found, provider=provider, settings=settings, **proposal.details)
    job.write_provenance(output.with_name("provenance.json"))
