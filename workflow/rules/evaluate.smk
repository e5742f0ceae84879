"""Evaluate every step of every experiment, and write the report."""


rule evaluate:
    input:
        manifest="<results>/data/manifest.csv",
        dataset="<results>/data/dataset.json",  # the order of the classes
        clusters=scoring_clusters(),
        artifacts=lambda wildcards: artifacts(wildcards.branch),
        quality=lambda wildcards: quality(wildcards.branch),
    output:
        metrics=ensure("<results>/{branch}/metrics.json", non_empty=True),
        sheet=report(
            "<results>/{branch}/sheet.jpg",
            caption="../report/sheet.rst",
            category="Contact sheets",
            labels={"experiment": "{branch}"},
        ),
    log:
        "<logs>/{branch}/evaluate.log",
    benchmark:
        "<benchmarks>/{branch}/evaluate.tsv"
    conda:
        "../envs/report.yaml"
    # More processes only pay off for many images.
    threads: lambda wildcards: max(1, min(CORES, len(artifacts(wildcards.branch)) // 10))
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=120,
    params:
        clusters=lambda wildcards, input: input.clusters or "none",
        inputs=lambda wildcards, input: [f"--input={path}" for path in input.artifacts],
        quality=lambda wildcards, input: [f"--quality={path}" for path in input.quality and [input.quality]],
        kind=lambda wildcards: kind_and_split(wildcards.branch)[0],
        split=lambda wildcards: kind_and_split(wildcards.branch)[1],
        experiment=lambda wildcards: as_json(BRANCHES[wildcards.branch]),
        settings=lambda wildcards: as_json(scoring_settings(config, BRANCHES[wildcards.branch])),
        code=code_of("pcc.stages.evaluate"),
    shell:
        "python -m pcc evaluate --manifest {input.manifest:q} --clusters {params.clusters:q}"
        " --kind {params.kind} --split {params.split} {params.inputs:q} {params.quality:q} --experiment {params.experiment:q}"
        " --output {output.metrics:q} --figure {output.sheet:q} --settings {params.settings:q}"
        " --threads {threads} --code {params.code} > {log:q} 2>&1"


rule report:
    input:
        metrics=expand("<results>/{branch}/metrics.json", branch=scored_branches()),
        losses=losses(),
        clusters=expand("<results>/clusters/{clusters}/clusters.json", clusters=used_clusters()),
        nouns=nouns(),
    output:
        summary=report(
            "<results>/summary.csv",
            caption="../report/summary.rst",
            category="Summary",
            labels={"table": "Mean and standard deviation over seeds"},
        ),
        runs="<results>/report/runs.csv",
        per_class=report(
            "<results>/report/per_class.png",
            caption="../report/per_class.rst",
            category="Summary",
            labels={"figure": "IoU by class"},
        ),
        confusion=report(
            "<results>/report/confusion.png",
            caption="../report/confusion.rst",
            category="Summary",
            labels={"figure": "Failures"},
        ),
        costs=report(
            "<results>/report/costs.png",
            caption="../report/costs.rst",
            category="Summary",
            labels={"figure": "Time, memory and disk by stage"},
        ),
        weak_full=report(
            "<results>/report/weak_full.png",
            caption="../report/weak_full.rst",
            category="Summary",
            labels={"figure": "Weak and full supervision"},
        ),
        curves=report(
            "<results>/report/curves.png",
            caption="../report/curves.rst",
            category="Summary",
            labels={"figure": "Training losses"},
        ),
        clusters=report(
            report_figures()["clusters"],
            caption="../report/clusters.rst",
            category="Clusters",
        ),
        nouns=report(
            report_figures()["nouns"],
            caption="../report/nouns.rst",
            category="Learned prompts",
        ),
        partitions="<results>/report/partitions.csv",
        text="<results>/report/report.md",
    log:
        "<logs>/report.log",
    benchmark:
        "<benchmarks>/report.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=30,
    params:
        files=lambda wildcards, input: [
            f"--{kind}={path}" for kind in ("metrics", "losses", "clusters", "nouns") for path in input[kind]
        ],
        folder=subpath(output.text, parent=True),
        results=subpath(output.summary, parent=True),
        settings=as_json({"published": published(config), "config": config}),
        code=code_of("pcc.stages.report"),
    shell:
        "(python -m pcc report {params.files:q} --results {params.results:q} --output {params.folder:q} --settings {params.settings:q}"
        " --threads {threads} --code {params.code} && cp {params.folder:q}/summary.csv {output.summary:q}) > {log:q} 2>&1"
