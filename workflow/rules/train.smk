"""Train a method on image-level labels, and list the nearest nouns of its prompts."""


rule train:
    input:
        lambda wildcards: files_in(entry("method", wildcards, "model", "training")),
        after=lambda wildcards: [
            f"{folder}/{file}"
            for folder in begins_with(wildcards).values()
            for file in ("weights.safetensors", "model.json")
        ],
        manifest="<results>/data/manifest.csv",
        dataset="<results>/data/dataset.json",  # the order of the classes
        clusters=lambda wildcards: "<results>/clusters/{}/clusters.json".format(entry("method", wildcards)["clusters"]),
    # Files, not their folder: Snakemake deletes outputs before a rerun, but the checkpoint beside them must stay.
    output:
        weights=ensure("<results>/{method}/seed-{seed}/classifier/weights.safetensors", non_empty=True),
        model=ensure("<results>/{method}/seed-{seed}/classifier/model.json", non_empty=True),
        losses=ensure("<results>/{method}/seed-{seed}/classifier/losses.csv", non_empty=True),
    log:
        "<logs>/{method}/seed-{seed}/train.log",
    benchmark:
        "<benchmarks>/{method}/seed-{seed}/train.tsv"
    priority: 2  # before evaluation, which no other job needs
    conda:
        "../envs/torch.yaml"
    threads: CORES
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 720 * attempt,
        device=1,
    params:
        folder=subpath(output.weights, parent=True),
        after=lambda wildcards, input: [
            f"--after={role}={Path(weights).parent}" for role, weights in zip(begins_with(wildcards), input.after[::2])
        ],
        settings=lambda wildcards: as_json(entry("method", wildcards, "type", "model", "training")),
        code=lambda wildcards: code_of("pcc.stages.train", *method_modules(wildcards)),
    # exec: SIGTERM must reach the training, not a shell around it.
    shell:
        "exec python -m pcc train --manifest {input.manifest:q} --clusters {input.clusters:q} {params.after:q}"
        " --seed {wildcards.seed} --output {params.folder:q} --settings {params.settings:q}"
        " --threads {threads} --code {params.code} > {log:q} 2>&1"


rule nouns:
    input:
        lambda wildcards: files_in(entry("method", wildcards)),
        weights="<results>/{method}/seed-{seed}/classifier/weights.safetensors",
        model="<results>/{method}/seed-{seed}/classifier/model.json",
    output:
        ensure("<results>/{method}/seed-{seed}/nouns.csv", non_empty=True),
    log:
        "<logs>/{method}/seed-{seed}/nouns.log",
    benchmark:
        "<benchmarks>/{method}/seed-{seed}/nouns.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=30,
    params:
        folder=subpath(input.weights, parent=True),
        settings=lambda wildcards: as_json({"words": config["methods"][wildcards.method]["nouns"]}),
        code=code_of("pcc.stages.nouns"),
    shell:
        "python -m pcc nouns --classifier {params.folder:q} --output {output:q}"
        " --settings {params.settings:q} --threads {threads} --code {params.code} > {log:q} 2>&1"
