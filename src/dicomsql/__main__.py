"""Runs the command line as `python -m dicomsql`."""

import sys

from dicomsql.cli import main

if __name__ == "__main__":
    sys.exit(main())
