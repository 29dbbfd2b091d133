"""The entry point of a submitted job with `--env` variables: sets them, then runs `rlaif` with the other arguments.

python -m rlaif.cli.job_driver URI run recipe.yaml ...
"""

import os
import sys

from rlaif.cli.errors import report
from rlaif.errors import WorkError
from rlaif.jobs.secrets import take


def main() -> None:
    """Take the variables and run the command line."""
    try:
        os.environ.update(take(sys.argv.pop(1)))
    except WorkError as error:
        raise SystemExit(report(error)) from None
    # Imported last: modules may read the variables on import.
    from rlaif.cli.main import main as rlaif

    rlaif()


if __name__ == "__main__":
    main()
