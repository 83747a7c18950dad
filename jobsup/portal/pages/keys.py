"""Places in a list, as the address says them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from jobsup.errors import UsageError
from jobsup.portal.call import Call
from jobsup.store.history import Page

ID_MAX = (1 << 63) - 1
_PLACES = ("before", "after")


def number(call: Call, key: str, *, most: int = ID_MAX) -> int | None:
    """Return a whole number of the address, None when it is not there; UsageError when it is none."""
    text = call.query.get(key, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most):
        raise UsageError(f"{key} must be a whole number, not {text[:40]!r}")
    return int(text)


def neighbours(call: Call, page: Page) -> dict[str, Any]:
    """Return the addresses of the pages beside this one; empty: there is none."""
    kept = [(key, value) for key, value in call.request.query_params.multi_items() if key not in _PLACES]
    here = call.request.url.path

    def address(key: str, place: int | None) -> str:
        return f"{here}?{urlencode([*kept, (key, place)])}" if place is not None else ""

    return {"newer": address("after", page.newer), "older": address("before", page.older)}
