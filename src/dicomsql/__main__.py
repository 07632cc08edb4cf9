"""Runs the command line as `python -m dicomsql`."""

from dicomsql.cli import entry

if __name__ == "__main__":
    entry()
