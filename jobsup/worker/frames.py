"""What the calls of one definition have in common, worked out once: a runner is told it once as well."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from jobsup.config.settings import WorkerSettings
from jobsup.worker import command
from jobsup.worker.confinement import confinement_of
from jobsup.worker.environment import fixed_environment
from jobsup.worker.run import Run

FRAMES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Frame:
    """What a runner must know of a definition, under the key by which it is told apart."""

    key: object
    content: dict[str, Any]


@dataclass(slots=True)
class Frames:
    """The frames of a worker's calls."""

    settings: WorkerSettings
    instance: str
    _known: OrderedDict[object, Frame] = field(default_factory=OrderedDict)

    def of(self, run: Run) -> Frame:
        """Return a call's; secrets may differ from one to the next. NotStartedError when it has no account."""
        key = (run.claim.job_id, run.claim.config_hash)
        if run.secrets:
            content = self._content(run)
            return Frame((*key, json.dumps(content["environment"])), content)
        frame = self._known.get(key)
        if frame is None:
            frame = self._known[key] = Frame(key, self._content(run))
            if len(self._known) > FRAMES_MAX:
                self._known.popitem(last=False)
        return frame

    def _content(self, run: Run) -> dict[str, Any]:
        job = run.claim.job
        account = confinement_of(job).account
        return {
            "python": job.python,
            "kwargs": job.kwargs,
            "environment": fixed_environment(job, self.instance, account, run.secrets),
            "path": [*self.settings.python_path, command.working_folder(job, account)],
            "timeout": None if job.timeout is None else job.timeout.total_seconds(),
            "is_merged": job.stderr == "merge",
        }
