"""dj_queue on SQLite: two processes of five threads, under its own supervisor."""

from __future__ import annotations

import sys

import crowd

is_worker = sys.argv[1] == "work"
folder, kind, runs = sys.argv[2:5] if is_worker else sys.argv[1:4]

import django  # noqa: E402  (what it needs to know comes first)
from django.conf import settings  # noqa: E402

settings.configure(
    SECRET_KEY="none",
    INSTALLED_APPS=["dj_queue"],
    USE_TZ=True,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": f"{folder}/dj_queue.db",
            "OPTIONS": {
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
                "transaction_mode": "IMMEDIATE",
                "timeout": 30,
            },
        }
    },
    TASKS={
        "default": {
            "BACKEND": "dj_queue.backend.DjQueueBackend",
            "QUEUES": [],
            "OPTIONS": {"workers": [{"queues": "*", "threads": 5, "processes": 2, "polling_interval": 0.05}]},
        }
    },
    DATABASE_ROUTERS=["dj_queue.routers.DjQueueRouter"],
)
django.setup()

import dj_queue_tasks  # noqa: E402
from django.core.management import call_command  # noqa: E402

if is_worker:
    crowd.ready()
    call_command("dj_queue")
else:
    from django.tasks import TaskResultStatus  # noqa: F401  (says at once when this Django has no tasks)

    call_command("migrate", verbosity=0)
    task = dj_queue_tasks.call if kind == "call" else dj_queue_tasks.command
    task.get_backend().enqueue_all([(task, [], {}) for _ in range(int(runs))])
    from dj_queue.models import Job

    crowd.measure(
        int(runs),
        is_done=lambda: not Job.objects.filter(finished_at__isnull=True).exists(),
        workers=1,
        setting="2 processes x 5 threads, FULL",
    )
