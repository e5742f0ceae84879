"""Estimate the reliability of each pseudo mask without ground truth."""


rule quality:
    input:
        manifest="<results>/data/manifest.csv",
        dataset="<results>/data/dataset.json",  # the order of the classes
        clusters=lambda wildcards: "<results>/clusters/{}/clusters.json".format(entry("method", wildcards)["clusters"]),
        maps=lambda wildcards: artifacts("{method}/seed-{seed}/{localization}".format(**wildcards)),
        masks=lambda wildcards: artifacts("{method}/seed-{seed}/{localization}/{refinement}".format(**wildcards)),
    output:
        ensure("<results>/{method}/seed-{seed}/{localization}/{refinement}/quality.csv", non_empty=True),
    log:
        "<logs>/{method}/seed-{seed}/{localization}/{refinement}/quality.log",
    benchmark:
        "<benchmarks>/{method}/seed-{seed}/{localization}/{refinement}/quality.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=60,
    params:
        files=lambda wildcards, input: [f"--{kind}={path}" for kind in ("maps", "masks") for path in input[kind]],
        code=code_of("pcc.stages.quality"),
    shell:
        "python -m pcc quality --manifest {input.manifest:q} --clusters {input.clusters:q} {params.files:q}"
        " --output {output:q} --threads {threads} --code {params.code} > {log:q} 2>&1"
