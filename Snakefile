"""PCC: image-level labels in; localization maps, pseudo masks, a segmenter and an honest mIoU out."""

from snakemake.utils import min_version

min_version("9.27")

# A --configfile stands alone; config.yaml is the demo (docs/decisions/0002-overlays.md).
if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/clusters.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/localize.smk"
include: "workflow/rules/boundaries.smk"
include: "workflow/rules/pseudo_masks.smk"
include: "workflow/rules/quality.smk"
include: "workflow/rules/segment.smk"
include: "workflow/rules/evaluate.smk"


report: "workflow/report/workflow.rst"


onstart:
    without_needless_rounds(workflow.scheduler)


rule all:
    default_target: True
    input:
        targets(),
    localrule: True
