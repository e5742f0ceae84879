"""Read, check and shard the data set."""


rule prepare:
    input:
        files_in(DATASET),
    output:
        manifest=ensure("<results>/data/manifest.csv", non_empty=True),
        dataset=ensure("<results>/data/dataset.json", non_empty=True),
    log:
        "<logs>/prepare.log",
    benchmark:
        "<benchmarks>/prepare.tsv"
    conda:
        "../envs/report.yaml"
    threads: CORES
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=120,
    params:
        folder=subpath(output.manifest, parent=True),
        settings=as_json({key: value for key, value in DATASET.items() if key != "watch"}),
        images=lambda wildcards: state_of_files(DATASET),
        code=code_of("pcc.stages.prepare", f"pcc.readers.{DATASET['format']}"),
    shell:
        "python -m pcc prepare --output {params.folder:q} --settings {params.settings:q}"
        " --threads {threads} --code {params.code} > {log:q} 2>&1"
