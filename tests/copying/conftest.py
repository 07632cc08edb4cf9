"""Fixtures of COPY's tests."""

from execution_bench import make_bench

__all__ = ["make_bench"]
