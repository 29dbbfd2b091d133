"""`python -m rlaif`: the same as the `rlaif` command."""

from rlaif.cli.main import main

main()
