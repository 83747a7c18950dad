"""The definitions of the jobs that a page shows, each read once for as long as it stays the same."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import lru_cache

from jobsup.config.document import jobspec_from_dict
from jobsup.model import JobSpec
from jobsup.store import job_lines
from jobsup.store.engine import Database

REMEMBERED_MAX = 256


def specs_of(database: Database, job_ids: Collection[int]) -> dict[int, JobSpec]:
    """Read the definitions of some jobs by id."""
    return {job_id: _spec(text) for job_id, text in job_lines.definition_texts(database, job_ids).items()}


@lru_cache(maxsize=REMEMBERED_MAX)
def _spec(text: str) -> JobSpec:
    return jobspec_from_dict(json.loads(text))
