"""Who may use the portal."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a user of the portal may do; each includes those before it."""

    VIEWER = "viewer"
    """Look at everything."""
    OPERATOR = "operator"
    """Run, cancel, retry, pause and resume."""
    AUTHOR = "author"
    """Make and change jobs."""
    ADMIN = "admin"
    """Keep users and tokens, and reload the configuration."""

    def includes(self, other: Role) -> bool:
        order = list(Role)
        return order.index(self) >= order.index(other)
