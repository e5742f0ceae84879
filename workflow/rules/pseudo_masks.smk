"""Refine localization maps into pseudo masks."""


rule pseudo_masks:
    input:
        lambda wildcards: files_in(refinement_settings(wildcards)),
        manifest="<results>/data/manifest.csv",
        dataset="<results>/data/dataset.json",  # the order of the classes
        maps="<results>/{method}/seed-{seed}/{localization}/maps/{shard}.safetensors",
        boundaries=lambda wildcards: (
            "<results>/{method}/seed-{seed}/{localization}/{refinement}/boundaries/{shard}.safetensors"
            if boundary(wildcards)
            else []
        ),
    output:
        directory("<results>/{method}/seed-{seed}/{localization}/{refinement}/pseudo_masks/{shard}"),
    log:
        "<logs>/{method}/seed-{seed}/{localization}/{refinement}/pseudo_masks-{shard}.log",
    benchmark:
        "<benchmarks>/{method}/seed-{seed}/{localization}/{refinement}/pseudo_masks-{shard}.tsv"
    priority: 1  # before evaluation, which no other job needs
    conda:
        "../envs/crf.yaml"
    threads: CORES
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
        device=lambda wildcards: 1 if boundary(wildcards) else 0,  # random walks use a GPU
    params:
        boundaries=lambda wildcards, input: [f"--boundaries={path}" for path in input.boundaries and [input.boundaries]],
        settings=lambda wildcards: as_json(refinement_settings(wildcards)),
        code=lambda wildcards: code_of("pcc.stages.pseudo_masks", module_of("refinement", wildcards)),
    shell:
        "python -m pcc pseudo_masks --manifest {input.manifest:q} --maps {input.maps:q} {params.boundaries:q}"
        " --shard {wildcards.shard} --output {output:q} --settings {params.settings:q}"
        " --threads {threads} --code {params.code} > {log:q} 2>&1"
