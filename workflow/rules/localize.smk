"""Extract localization maps from a trained classifier."""


rule localize:
    input:
        lambda wildcards: files_in(entry("localization", wildcards)),
        manifest="<results>/data/manifest.csv",
        dataset="<results>/data/dataset.json",  # the order of the classes
        weights="<results>/{method}/seed-{seed}/classifier/weights.safetensors",
        model="<results>/{method}/seed-{seed}/classifier/model.json",
    output:
        ensure("<results>/{method}/seed-{seed}/{localization}/maps/{shard}.safetensors", non_empty=True),
    log:
        "<logs>/{method}/seed-{seed}/{localization}/localize-{shard}.log",
    benchmark:
        "<benchmarks>/{method}/seed-{seed}/{localization}/localize-{shard}.tsv"
    priority: 1  # before evaluation, which no other job needs
    conda:
        "../envs/torch.yaml"
    threads: CORES
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
        device=1,
    params:
        folder=subpath(input.weights, parent=True),
        settings=lambda wildcards: as_json(entry("localization", wildcards)),
        code=lambda wildcards: code_of(
            "pcc.stages.localize",
            *method_modules(wildcards),
            module_of("localization", wildcards),
        ),
    shell:
        "python -m pcc localize --manifest {input.manifest:q} --classifier {params.folder:q}"
        " --shard {wildcards.shard} --output {output:q} --settings {params.settings:q}"
        " --threads {threads} --code {params.code} > {log:q} 2>&1"
