"""The work of dj_queue, in a module that its processes can import."""

from __future__ import annotations

import crowd
from django.tasks import task


@task
def call() -> None:
    return None


@task
def command() -> None:
    crowd.run_command()
