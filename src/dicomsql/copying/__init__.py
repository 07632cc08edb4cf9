"""COPY: instances into a store, out of it, and from one to another; docs/copy.md is its design."""
