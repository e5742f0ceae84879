"""``python -m pcc STAGE``: the same as ``pcc STAGE``."""

from pcc.cli import main

main()
