"""Partition the class names into clusters of related classes."""


rule clusters:
    input:
        lambda wildcards: files_in(prompts_of(wildcards) | entry("clusters", wildcards)),
        manifest="<results>/data/manifest.csv",
        dataset="<results>/data/dataset.json",  # the order of the classes
    output:
        ensure("<results>/clusters/{clusters}/clusters.json", non_empty=True),
    log:
        "<logs>/clusters/{clusters}.log",
    benchmark:
        "<benchmarks>/clusters/{clusters}.tsv"
    retries: 0  # the client retries itself, and requests may cost money
    localrule: True  # compute nodes may be offline
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=30,
    params:
        settings=lambda wildcards: as_json(entry("clusters", wildcards)),
        code=lambda wildcards: code_of("pcc.stages.clusters", module_of("clusters", wildcards)),
    shell:
        "python -m pcc clusters --manifest {input.manifest:q} --output {output:q}"
        " --settings {params.settings:q} --threads {threads} --code {params.code} > {log:q} 2>&1"
