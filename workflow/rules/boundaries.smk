"""Train the boundary network of refinements with a `boundary` block, and predict boundaries."""


rule train_boundary:
    input:
        lambda wildcards: files_in(boundary(wildcards)),
        manifest="<results>/data/manifest.csv",
        dataset="<results>/data/dataset.json",  # the order of the classes
        masks=boundary_masks,
    # Files, not their folder, to keep the checkpoint beside them (see train.smk).
    output:
        weights=ensure(
            "<results>/{method}/seed-{seed}/{localization}/{refinement}/boundary/weights.safetensors",
            non_empty=True,
        ),
        model="<results>/{method}/seed-{seed}/{localization}/{refinement}/boundary/model.json",
        losses="<results>/{method}/seed-{seed}/{localization}/{refinement}/boundary/losses.csv",
    log:
        "<logs>/{method}/seed-{seed}/{localization}/{refinement}/train_boundary.log",
    benchmark:
        "<benchmarks>/{method}/seed-{seed}/{localization}/{refinement}/train_boundary.tsv"
    priority: 2  # before evaluation, which no other job needs
    conda:
        "../envs/torch.yaml"
    threads: CORES
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=lambda wildcards, attempt: 720 * attempt,
        device=1,
    params:
        folder=subpath(output.weights, parent=True),
        masks=lambda wildcards, input: [f"--masks={folder}" for folder in input.masks],
        settings=lambda wildcards: as_json({k: boundary(wildcards)[k] for k in ("model", "training")}),
        code=code_of("pcc.stages.train_boundary"),
    # exec: SIGTERM must reach the training, not a shell around it.
    shell:
        "exec python -m pcc train_boundary --manifest {input.manifest:q} {params.masks:q}"
        " --seed {wildcards.seed} --output {params.folder:q} --settings {params.settings:q}"
        " --threads {threads} --code {params.code} > {log:q} 2>&1"


rule boundaries:
    input:
        manifest="<results>/data/manifest.csv",
        dataset="<results>/data/dataset.json",  # the order of the classes
        weights="<results>/{method}/seed-{seed}/{localization}/{refinement}/boundary/weights.safetensors",
        model="<results>/{method}/seed-{seed}/{localization}/{refinement}/boundary/model.json",
    output:
        ensure(
            "<results>/{method}/seed-{seed}/{localization}/{refinement}/boundaries/{shard}.safetensors",
            non_empty=True,
        ),
    log:
        "<logs>/{method}/seed-{seed}/{localization}/{refinement}/boundaries-{shard}.log",
    benchmark:
        "<benchmarks>/{method}/seed-{seed}/{localization}/{refinement}/boundaries-{shard}.tsv"
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
        settings=lambda wildcards: as_json({k: v for k, v in boundary(wildcards).items() if k == "precision"}),
        code=code_of("pcc.stages.boundaries"),
    shell:
        "python -m pcc boundaries --manifest {input.manifest:q} --network {params.folder:q}"
        " --shard {wildcards.shard} --output {output:q} --settings {params.settings:q}"
        " --threads {threads} --code {params.code} > {log:q} 2>&1"
