"""The settings of a session, and where each comes from: arguments, environment, profile, defaults.

`dicomsql.config.table` has all of them with their names; `resolve` the order.
"""

from __future__ import annotations

from dicomsql.config.file import (
    USUAL_PROFILE,
    Configuration,
    read_configuration,
    read_connections,
)
from dicomsql.config.folders import default_cache_root, default_config_file, default_local_root
from dicomsql.config.model import DEFAULT_TIMEOUT, PARAMETER_DEFAULTS, Settings
from dicomsql.config.resolve import Found, Resolution, resolve, settings
from dicomsql.config.table import OPTIONS, Option
from dicomsql.config.values import LONGEST_CACHE, bytes_of, seconds_of

__all__ = [
    "DEFAULT_TIMEOUT",
    "LONGEST_CACHE",
    "OPTIONS",
    "PARAMETER_DEFAULTS",
    "USUAL_PROFILE",
    "Configuration",
    "Found",
    "Option",
    "Resolution",
    "Settings",
    "bytes_of",
    "default_cache_root",
    "default_config_file",
    "default_local_root",
    "read_configuration",
    "read_connections",
    "resolve",
    "seconds_of",
    "settings",
]
