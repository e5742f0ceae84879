"""The command line: ``pcc STAGE``, one sub-command per stage of the workflow, plus tools for people.

Stages are imported when they are called, so that ``--help`` is quick and a stage's imports are its own.
"""

import logging
import sys

from pcc.cli import stages, tools  # noqa: F401 - sub-commands sign up when they are imported
from pcc.cli.calling import app
from pcc.cli.examples import epilog

for _command in app.registered_commands:
    assert _command.callback is not None
    _command.epilog = epilog(_command.name or _command.callback.__name__)


def main() -> None:
    """Run the command line; a user's error is one line per problem and exit code 2."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    app()
