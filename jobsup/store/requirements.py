"""What jobs require of the worker that runs them: tags, all of which it must have.

A run holds its requirement as one text; which tags that text stands for is in `job_requirement`, so that a claim finds
the few requirements its worker meets once, and not for each run that waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, Select, String, case, func, select

from jobsup.store.dialect import insert_new
from jobsup.store.rows import JobRequirement
from jobsup.store.statements import Given

_BETWEEN = " "


def text_of(tags: Iterable[str]) -> str | None:
    """Return the text by which rows hold a requirement; None when nothing is required."""
    return _BETWEEN.join(sorted(set(tags))) or None


def tags_of(requires: str | None) -> tuple[str, ...]:
    """Return the tags of a requirement's text."""
    return tuple(requires.split(_BETWEEN)) if requires else ()


def met(given: Given) -> Select[tuple[str]]:
    """Select the requirements that a worker with the tags `has_tags` meets; what nobody wrote down is met by none."""
    is_there = case((given.among(JobRequirement.tag, "has_tags", String()), 1), else_=0)
    return select(JobRequirement.requires).group_by(JobRequirement.requires).having(func.count() == func.sum(is_there))


def write(connection: Connection, requirements: Sequence[Sequence[str]]) -> None:
    """Write down which tags each requirement stands for; those known already stay."""
    texts = {text: tags for tags in requirements if (text := text_of(tags)) is not None}
    if not texts:
        return
    known = set(connection.execute(select(JobRequirement.requires).distinct()).scalars())
    fresh = sorted(texts.keys() - known)
    rows = [{"requires": text, "tag": tag} for text in fresh for tag in tags_of(text)]
    if rows:
        insert_new(connection, JobRequirement, rows)
