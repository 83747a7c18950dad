"""The fixed table of what can be asked over the control socket."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from jobsup.control.server import Request, Verb
from jobsup.errors import UsageError

if TYPE_CHECKING:
    from jobsup.supervisor.supervisor import Supervisor


def verb_table(supervisor: Supervisor) -> Mapping[str, Verb]:
    """Bind the verbs to one supervisor."""

    def ping(request: Request) -> None:
        request.done(pid=os.getpid(), state=supervisor.state, generation=supervisor.generation)

    def status(request: Request) -> None:
        request.done(status=supervisor.status(with_memory=bool(request.body.get("memory"))))

    def stop(request: Request) -> None:
        """`now`: end what runs instead of letting it finish."""
        if request.body.get("now"):
            supervisor.cancel(request)
        else:
            supervisor.stop(request)

    def restart(request: Request) -> None:
        supervisor.restart(request)

    def reload(request: Request) -> None:
        """`dry_run`: only validate and show what would change."""
        supervisor.begin_reload(request, is_dry_run=bool(request.body.get("dry_run")))

    def scale(request: Request) -> None:
        count = request.body.get("count")
        if not isinstance(count, int) or isinstance(count, bool):
            raise UsageError('scale: "count" must be a whole number')
        before, after = supervisor.scale(str(request.body.get("kind", "")), count)
        request.line(f"{request.body.get('kind')}: {before} -> {after}")
        request.done(before=before, after=after)

    return {"ping": ping, "status": status, "stop": stop, "restart": restart, "reload": reload, "scale": scale}
