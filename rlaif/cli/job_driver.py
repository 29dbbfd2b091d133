"""The entry of a submitted job that was given variables: takes them, then is `rlaif` with the words that follow.

python -m rlaif.cli.job_driver PLACE run recipe.yaml ...
"""

import os
import sys

import typer

from rlaif.cli.errors import FAILED


def main() -> None:
    """Take the variables and run the command line."""
    from rlaif.errors import WorkError
    from rlaif.jobs.secrets import take

    place = sys.argv.pop(1)
    try:
        os.environ.update(take(place))
    except WorkError as error:
        typer.echo(f"rlaif: {error}", err=True)
        raise SystemExit(FAILED) from None
    from rlaif.cli.main import main as rlaif

    rlaif()


if __name__ == "__main__":
    main()
