"""Which software this is, for the journal and for what leaves the house."""

from __future__ import annotations

import platform
from importlib.metadata import version


def project_version() -> str:
    """Return this project's version."""
    return version("trading-backend")


def software() -> str:
    """Return the versions of this project and of Python in one line."""
    return f"trading-backend {project_version()}, Python {platform.python_version()}"
