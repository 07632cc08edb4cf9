"""The face of PEP 249: connections, cursors, type objects."""
