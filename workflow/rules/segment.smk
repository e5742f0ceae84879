"""Train the segmenter on masks, and predict with it."""


rule train_segmenter:
    input:
        lambda wildcards: files_in(entry("segmenter", wildcards, "model", "training")),
        manifest="<results>/data/manifest.csv",
        dataset="<results>/data/dataset.json",  # the order of the classes
        masks=training_masks,
    # Files, not their folder, to keep the checkpoint beside them (see train.smk).
    output:
        weights=ensure("<results>/{branch}/segmenter/weights.safetensors", non_empty=True),
        model=ensure("<results>/{branch}/segmenter/model.json", non_empty=True),
        losses=ensure("<results>/{branch}/segmenter/losses.csv", non_empty=True),
    log:
        "<logs>/{branch}/train_segmenter.log",
    benchmark:
        "<benchmarks>/{branch}/train_segmenter.tsv"
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
        masks=lambda wildcards, input: [f"--masks={folder}" for folder in input.masks] or "--supervision=masks",
        seed=lambda wildcards: BRANCHES[wildcards.branch]["seed"],
        settings=lambda wildcards: as_json(entry("segmenter", wildcards, "type", "model", "training")),
        code=lambda wildcards: code_of("pcc.stages.train_segmenter", module_of("segmenter", wildcards)),
    # exec: SIGTERM must reach the training, not a shell around it.
    shell:
        "exec python -m pcc train_segmenter --manifest {input.manifest:q} {params.masks:q}"
        " --seed {params.seed} --output {params.folder:q} --settings {params.settings:q}"
        " --threads {threads} --code {params.code} > {log:q} 2>&1"


rule segment:
    input:
        manifest="<results>/data/manifest.csv",
        dataset="<results>/data/dataset.json",  # the order of the classes
        weights="<results>/{branch}/segmenter/weights.safetensors",
        model="<results>/{branch}/segmenter/model.json",
    output:
        directory("<results>/{branch}/predictions/{shard}"),
    log:
        "<logs>/{branch}/segment-{shard}.log",
    benchmark:
        "<benchmarks>/{branch}/segment-{shard}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: CORES
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
        device=1,
    params:
        folder=subpath(input.weights, parent=True),
        settings=lambda wildcards: as_json(entry("segmenter", wildcards)["prediction"]),
        code=lambda wildcards: code_of(
            "pcc.stages.segment",
            module_of("segmenter", wildcards),
            *["pcc.refine.crf"] * bool(entry("segmenter", wildcards)["prediction"].get("crf")),
        ),
    shell:
        "python -m pcc segment --manifest {input.manifest:q} --segmenter {params.folder:q}"
        " --shard {wildcards.shard} --output {output:q} --settings {params.settings:q}"
        " --threads {threads} --code {params.code} > {log:q} 2>&1"
