"""Runs the command line as `python -m dicomsql`."""

if __name__ == "__main__":
    try:
        from dicomsql.cli import entry
    except KeyboardInterrupt:
        # Ctrl-C while it is imported: the exit code of an interrupt, and no traceback.
        raise SystemExit(130) from None
    entry()
