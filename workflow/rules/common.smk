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
from scheduling import without_needless_rounds

update_config(config, typed(workflow.config_settings.config or {}))
check_config(config, Path(workflow.basedir))
code_of = Code(Path(workflow.basedir)).fingerprint

CORES = min(8, os.cpu_count() or 1)  # of parallel jobs; --cores may lower it
DATASET = config["dataset"]
SHARDS = {split: [f"{i:03d}" for i in range(count)] for split, count in DATASET["shards"].items()}
BRANCHES = branches(config)


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


def trainings():
    """Folder and training rule of every network behind a scored branch."""
    scored = [BRANCHES[branch] for branch in scored_branches()]
    classifiers = {
        f"{name}/seed-{chosen['seed']}": "train"
        for chosen in scored
        if chosen["method"]
        for name in methods_behind(config["methods"], chosen["method"])
    }
    boundary_networks = {
        branch: "train_boundary"
        for branch in scored_branches()
        if last_step(BRANCHES[branch]) == "refinement"
        and "boundary" in config["refinements"][BRANCHES[branch]["refinement"]]
    }
    segmenters = {b: "train_segmenter" for b in scored_branches() if last_step(BRANCHES[b]) == "segmenter"}
    return classifiers | boundary_networks | segmenters


def losses():
    folders = {rule_name: folder for folder, rule_name in NETWORKS.items()}
    return [f"<results>/{branch}/{folders[rule_name]}/losses.csv" for branch, rule_name in trainings().items()]


def report_figures():
    """Figures of the report that depend on the configuration."""
    return {
        "clusters": [f"<results>/report/clusters_{name}.png" for name in used_clusters()],
        "nouns": [f"<results>/report/nouns_{name}.png" for name in methods_with_nouns()],
    }


def targets():
    """The summary of scored branches, and artifacts of all others."""
    scored = scored_branches()
    rest = [branch for branch in BRANCHES if branch not in scored]
    unscored = [path for branch in rest for path in artifacts(branch)]
    unscored += [path for branch in rest for path in quality(branch) and [quality(branch)]]
    # Figures too: Snakemake does not rerun a rule for a missing output that is not requested.
    return unscored + ["<results>/summary.csv", *sum(report_figures().values(), [])] * bool(scored)


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
