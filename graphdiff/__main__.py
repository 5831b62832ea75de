"""`python -m graphdiff` is the `graphdiff` command."""

from graphdiff.cli import main

if __name__ == "__main__":
    main(prog_name="graphdiff")
