"""Inputs, settings and code of each job, from its wildcards."""

import json
import os
import re
import sys
from pathlib import Path

from snakemake.utils import update_config

# Run and fingerprint this code, not an installed package.
sys.path.insert(0, str(workflow.basedir))

from configuration import check_config, typed
from experiments import chosen_by_masks, published, scoring_settings
from fingerprints import Code
from pcc.configuration import files_in, methods_behind, settings_of
from pcc.configuration import module_of as module_named
from pcc.results import NETWORKS, STEPS, branches, last_step
from images import state_of_files
from scheduling import without_needless_rounds

update_config(config, typed(workflow.config_settings.config or {}))
check_config(config, Path(workflow.basedir))
code_of = Code(Path(workflow.basedir)).fingerprint

CORES = min(8, os.cpu_count() or 1)  # of parallel jobs; --cores may lower it
DATASET = config["dataset"]
SHARDS = {split: [f"{i:03d}" for i in range(count)] for split, count in DATASET["shards"].items()}
BRANCHES = branches(config)
NETWORK_FILES = ("weights.safetensors", "model.json", "losses.csv")


pathvars:
    results=f"{config['results']}/{DATASET['name']}",
    logs=f"{config['results']}/{DATASET['name']}/logs",
    benchmarks=f"{config['results']}/{DATASET['name']}/benchmarks",


# Run the fingerprinted code in any working directory and environment.
shell.prefix("export PYTHONPATH={workflow.basedir:q}${{PYTHONPATH:+:$PYTHONPATH}}; ")


def any_of(names):
    return "|".join(map(re.escape, names)) or "(?!)"  # no names: match nothing


wildcard_constraints:
    seed=r"\d+",
    shard=r"\d{3}",
    branch=any_of(BRANCHES),
    clusters=any_of(config["clusters"]),
    method=any_of(config["methods"]),
    localization=any_of(config["localizations"]),
    refinement=any_of(config["refinements"]),


def kind_and_split(branch):
    return STEPS[last_step(BRANCHES[branch])]


def artifacts(branch):
    """The shards of a branch's last step."""
    kind, split = kind_and_split(branch)
    suffix = ".safetensors" if kind == "maps" else ""
    return [f"<results>/{branch}/{kind}/{shard}{suffix}" for shard in SHARDS[split]]


def training_masks(wildcards):
    """Pseudo masks that a segmenter is trained on; none if it is trained on ground truth."""
    by_masks = BRANCHES[wildcards.branch]["supervision"] == "masks"
    return [] if by_masks else artifacts(str(Path(wildcards.branch).parent))


def scored_branches():
    return [branch for branch in BRANCHES if kind_and_split(branch)[1] in config["scoring"]["splits"]]


def quality(branch):
    """quality.csv of a branch that ends with pseudo masks."""
    return f"<results>/{branch}/quality.csv" if last_step(BRANCHES[branch]) == "refinement" else []


def scoring_clusters():
    """The partition for cluster confusion, the same for all experiments."""
    name = config["scoring"]["clusters"]
    return f"<results>/clusters/{name}/clusters.json" if name else []


def used_clusters():
    """Partitions used by experiments or scoring, without provider `none`."""
    chosen = {branch["method"] for branch in BRANCHES.values() if branch["method"]}
    methods = {behind for name in chosen for behind in methods_behind(config["methods"], name)}
    used = {config["methods"][method]["clusters"] for method in methods} | {config["scoring"]["clusters"]}
    return [n for n, chosen in config["clusters"].items() if n in used and chosen.get("provider", n) != "none"]


def trainings(names):
    """Folder and training rule of every network behind the branches of these names."""
    ends = [BRANCHES[name] for name in names]
    classifiers = {
        f"{method}/seed-{end['seed']}": "train"
        for end in ends
        if end["method"]
        for method in methods_behind(config["methods"], end["method"])
    }
    boundary_networks = {name: "train_boundary" for name in names if has_boundary_network(name)}
    segmenters = {name: "train_segmenter" for name, end in zip(names, ends) if last_step(end) == "segmenter"}
    return classifiers | boundary_networks | segmenters


def networks(names):
    """Folders of these networks."""
    folders = {rule_name: folder for folder, rule_name in NETWORKS.items()}
    return [f"<results>/{branch}/{folders[rule_name]}" for branch, rule_name in trainings(names).items()]


def has_boundary_network(branch):
    """Whether a branch ends with a refinement that has a boundary network."""
    end = BRANCHES[branch]
    return last_step(end) == "refinement" and "boundary" in config["refinements"][end["refinement"]]


def boundary_shards(branch):
    shards = SHARDS["train"] if has_boundary_network(branch) else []
    return [f"<results>/{branch}/boundaries/{shard}.safetensors" for shard in shards]


def losses():
    return [f"{folder}/losses.csv" for folder in networks(scored_branches())]


def report_figures():
    """Figures of the report that depend on the configuration."""
    return {
        "clusters": [f"<results>/report/clusters_{name}.png" for name in used_clusters()],
        "nouns": [f"<results>/report/nouns_{name}.png" for name in methods_with_nouns()],
    }


def targets():
    """The summary, and every artifact behind it.

    Snakemake deletes the outputs of a job before it runs. If the job fails, what follows from its old outputs is still
    there and newer than nothing: unless each artifact is asked for, the next run has "nothing to be done".
    """
    return [
        "<results>/data/manifest.csv",
        "<results>/data/dataset.json",
        *(f"<results>/clusters/{name}/clusters.json" for name in used_clusters()),
        *(f"{folder}/{file}" for folder in networks(list(BRANCHES)) for file in NETWORK_FILES),
        *(path for branch in BRANCHES for path in artifacts(branch)),
        *(path for branch in BRANCHES for path in boundary_shards(branch)),
        *(path for branch in BRANCHES for path in quality(branch) and [quality(branch)]),
        *(f"<results>/{branch}/metrics.json" for branch in scored_branches()),
        *nouns(),
        # Figures too: Snakemake does not rerun a rule for a missing output that is not requested.
        *["<results>/summary.csv", *sum(report_figures().values(), [])] * bool(scored_branches()),
    ]


def chosen(part, wildcards):
    """Name of the configuration entry that the wildcards select."""
    return BRANCHES[wildcards.branch][part] if "branch" in wildcards.keys() else wildcards[part]


def entry(part, wildcards, *keys):
    """Settings of the selected entry; with `keys`, only those."""
    settings = settings_of(config, part, chosen(part, wildcards))
    return {key: settings[key] for key in keys or settings}


def begins_with(wildcards):
    """Folders of the trained methods that this one starts from, by role."""
    after = config["methods"][wildcards.method]["after"]
    return {role: f"<results>/{name}/seed-{wildcards.seed}/classifier" for role, name in after.items()}


def methods_with_nouns():
    """Methods of any experiment with a `nouns` setting."""
    chosen = dict.fromkeys(branch["method"] for branch in BRANCHES.values() if branch["method"])
    behind = dict.fromkeys(name for method in chosen for name in methods_behind(config["methods"], method))
    return [name for name in behind if "nouns" in config["methods"][name]]


def method_modules(wildcards):
    """Modules of a method and those it starts from, and of checkpoint selection on masks if used."""
    methods = config["methods"]
    modules = [module_named(config, "method", name) for name in methods_behind(methods, wildcards.method)]
    return [*dict.fromkeys(modules), *["pcc.scoring.selection"] * chosen_by_masks(methods[wildcards.method])]


def nouns():
    """The lists of nouns nearest to the learned prompts."""
    return expand("<results>/{method}/seed-{seed}/nouns.csv", method=methods_with_nouns(), seed=config["seeds"])


def boundary(wildcards):
    """The `boundary` block of a refinement; empty if it has none."""
    return entry("refinement", wildcards).get("boundary", {})


def prompts_of(wildcards):
    """Default prompts for a language model."""
    asks = entry("clusters", wildcards)["provider"] == "openai"
    return {"prompts": f"{workflow.basedir}/pcc/resources/prompts/clusters.yaml"} if asks else {}


def boundary_masks(wildcards):
    """Confident pseudo masks that the boundary network is trained on."""
    branch = f"{wildcards.method}/seed-{wildcards.seed}/{wildcards.localization}"
    labels = boundary(wildcards)["labels"]
    return [f"<results>/{branch}/{labels}/pseudo_masks/{shard}" for shard in SHARDS["train"]]


def refinement_settings(wildcards):
    return {k: v for k, v in entry("refinement", wildcards).items() if k != "boundary"}


def module_of(part, wildcards):
    """Module of the selected entry."""
    return module_named(config, part, chosen(part, wildcards))


def as_json(settings):
    # Sorted: the order of keys must not matter.
    return json.dumps(settings, sort_keys=True)
