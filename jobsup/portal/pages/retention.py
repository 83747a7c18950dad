"""How long history is kept, how much there is, and deleting some of it now."""

from __future__ import annotations

from datetime import timedelta

from starlette.responses import Response

from jobsup.actions import prune
from jobsup.errors import UsageError
from jobsup.model import Role
from jobsup.portal.call import Call
from jobsup.portal.routes import Entry
from jobsup.portal.views.retention import DAYS_MAX, retention_of


async def retention(call: Call) -> Response:
    """Show what is kept and since when."""
    days = call.query.get("days", "")
    wanted = _days(days) if days else None
    keep = call.site.config.scheduler.cleanup_retention_days
    found = await call.ask(lambda database: retention_of(database, keep, wanted))
    return call.page("admin_retention.html", found=found, settings=call.site.config.scheduler)


async def delete(call: Call) -> Response:
    """Delete the runs that ended longer ago."""
    days = _days(await call.field("days", required=True))
    older = timedelta(days=days)
    done = await call.act(
        "runs.prune", f"older than {days} d", lambda db: prune.prune(db, older), detail={"days": days}
    )
    left = f" {done.left} are left: delete once more." if done.left else ""
    return call.go("/admin/retention", f"{done.deleted} runs that ended over {days} days ago are deleted.{left}")


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= DAYS_MAX):
        raise UsageError(f"the days must be a whole number from 0 to {DAYS_MAX}, not {text[:20]!r}")
    return int(text)


ENTRIES = (
    Entry("GET", "/admin/retention", retention, Role.ADMIN),
    Entry("POST", "/admin/retention", delete, Role.ADMIN),
)
