"""Stage `clusters`: class names → clusters.json, an exact partition made by one provider."""

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


@stage(writes="file")
def clusters(
    manifest: Path,
    output: Path,
    *,
    provider: str,
    replay: Path | None = None,
    print_prompt: bool = False,
    **settings: Any,
) -> None:
    """Request clusters from a provider, validate and write them.

    Args:
        manifest: the data set's manifest.csv.
        output: clusters.json; its provenance is written beside it.
        provider: a module of `pcc.clusters.providers`.
        replay: transcript of an earlier run to replay without any request.
        print_prompt: only print the first prompt; send and write nothing.
        settings: the provider's settings.

    Raises:
        InputError: invalid settings or an invalid answer; answers are never repaired silently.
    """
    dataset = Manifest.read(manifest).dataset
    task = Task(dataset.classes, dataset.taxonomy, output.parent, replay)
    if print_prompt:
        preview = load_attribute("pcc.clusters.providers", provider, "preview", "print-prompt")
        sys.stdout.write(call_with(preview, settings, f"clusters ({provider})", task=task) + "\n")
        return
    propose = load_attribute("pcc.clusters.providers", provider, "propose", "clusters.provider")
    proposal = call_with(propose, settings, f"clusters ({provider})", task=task)
    if proposal.clusters:  # an empty partition is valid
        validate(proposal.clusters, dataset.classes)
    job = Job({"provider": provider, **settings}, [manifest.with_name("dataset.json"), *([replay] if replay else [])])
    found = [{"name": name, "members": group} for name, group in proposal.clusters.items()]
    write_clusters(output, found, provider=provider, settings=settings, **proposal.details)
    job.write_provenance(output)
