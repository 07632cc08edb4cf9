"""The adapter for Harlequin, the terminal's SQL IDE: `harlequin -a dicomsql PROJECT/LOCATION`."""

from __future__ import annotations

from dicomsql.integrations.harlequin.adapter import Adapter

__all__ = ["Adapter"]
