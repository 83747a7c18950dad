"""The machine's own time zone, by its IANA name."""

from __future__ import annotations

from zoneinfo import ZoneInfo


def local_zone() -> str:
    """Return the name; ValueError says why the machine's zone has none."""
    import tzlocal

    try:
        name = tzlocal.get_localzone_name()
        ZoneInfo(name)
    except (ValueError, OSError, KeyError, TypeError) as error:  # KeyError: ZoneInfoNotFoundError
        raise ValueError(str(error)) from None
    return name
