"""Secrets reach the one process that they are for, and nothing else: no other job, no table, no log, no page."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from jobsup.actions.documents import definition, job_document
from jobsup.model import JobKind
from jobsup.runtime import procs
from jobsup.store import dispatches, jobs
from tests.support.waiting import until
from tests.support.worker import Bench, working

BY_ENV_FILE, BY_FILE, BY_COMMAND = "s3cret-of-the-env-file", "s3cret-of-a-file", "s3cret-of-a-command"
SECRETS = (BY_ENV_FILE, BY_FILE, BY_COMMAND)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with working(tmp_path_factory.mktemp("worker"), concurrency=3) as bench:
        for name, text in (("env", f"A={BY_ENV_FILE}\n"), ("file", f"{BY_FILE}\n"), ("vault", f"{BY_COMMAND}\n")):
            path = bench.folder / name
            path.write_text(text)
            path.chmod(0o600)
        (bench.folder / "leaky.py").write_text(
            "import os\n"
            "def leak():\n    print(os.environ['A'], os.environ['B'])\n"
            "    raise ValueError('lost ' + os.environ['B'])\n"
        )
        yield bench


def secret_job(bench: Bench) -> dict[str, object]:
    return {
        "env_file": str(bench.folder / "env"),
        "secrets": {
            "B": {"file": str(bench.folder / "file")},
            "C": {"command": ["cat", str(bench.folder / "vault")]},
        },
    }


def processes_that_know(secret: str) -> list[int]:
    """List the processes in whose environment or command line a secret is."""
    found = []
    for pid in procs.pids():
        for name in ("environ", "cmdline"):
            try:
                data = Path(f"/proc/{pid}/{name}").read_bytes()
            except OSError:
                continue
            if secret.encode() in data:
                found.append(pid)
    return found


def test_secrets_are_in_the_job_and_nowhere_else(bench: Bench) -> None:
    command = (
        "echo $A; echo $B >&2; printf %s s3cret-of-; sleep 0.1; echo a-command; "
        'test -n "$C" && echo has-c; echo > {folder}/begun; exec sleep 60'
    )
    run = bench.run("asks", command=command.format(folder=bench.folder), **secret_job(bench))
    other = bench.run("other", command="env; sleep 60")
    bench.until_started(run)
    bench.until_started(other)
    until((bench.folder / "begun").exists, 10, "the job", bench.told)
    [main] = processes_that_know(BY_COMMAND)
    assert procs.environ_value(main, "C") == BY_COMMAND
    for secret in SECRETS:
        assert processes_that_know(secret) == [main]
    for ended in (run, other):
        dispatches.cancel(bench.database, ended, "test")
        bench.until_ended(ended)
    output = bench.output(run)
    assert sorted(output.splitlines()) == [b"***", b"***", b"***", b"has-c"]
    assert b"s3cret" not in bench.output(other)


def test_what_a_callable_prints_raises_and_returns_is_masked_too(bench: Bench) -> None:
    spec = secret_job(bench)
    spec["secrets"] = {"B": {"file": str(bench.folder / "file")}}
    run = bench.run(kind=JobKind.PYTHON, python="leaky:leak", command=None, cwd=str(bench.folder), **spec)
    row = bench.until_ended(run)
    assert (row["reason"], row["error_message"]) == ("exception", "ValueError: lost ***")
    assert b"*** ***" in bench.output(run)
    assert b"s3cret" not in bench.output(run)


def test_a_command_that_gives_no_secret_fails_the_run_with_its_name(bench: Bench) -> None:
    cases = {
        'secret "C": its command ended with exit code 3': ["sh", "-c", "echo vault is sealed >&2; exit 3"],
        'secret "C": its command ended with exit code 127': ["/no/such/vault"],
        'secret "C": its command printed more than 16384 bytes': ["head", "-c", "20000", "/dev/zero"],
    }
    for text, words in cases.items():
        row = bench.until_ended(bench.run(command="true", secrets={"C": {"command": words}}))
        assert (row["status"], row["reason"], row["error_message"]) == ("FAILED", "spawn", text)
    missing = bench.until_ended(bench.run(command="true", secrets={"B": {"file": "/no/such/file"}}))
    assert (missing["reason"], missing["error_message"]) == (
        "not_runnable",
        'secret "B": file /no/such/file: No such file or directory',
    )


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run jobs as another user")
def test_a_job_of_another_user_gets_secrets_that_only_root_may_read(bench: Bench) -> None:
    run = bench.run(command="echo ${#B} ${#C}; id -un", user="nobody", **secret_job(bench))
    assert bench.until_ended(run)["status"] == "COMPLETED"
    assert bench.output(run).decode() == f"{len(BY_FILE)} {len(BY_COMMAND)}\nnobody\n"


def test_nothing_that_is_stored_or_shown_holds_a_secret(bench: Bench) -> None:
    run = bench.run("shown", command="echo $A $B $C; false", **secret_job(bench))
    bench.until_ended(run)
    facts = jobs.get_job(bench.database, "shown")
    shown = [bench.told(), str(job_document(facts, bench.database.now())), str(definition(facts))]
    with closing(sqlite3.connect(bench.folder / "jobsup.db")) as connection:
        shown += connection.iterdump()
    for secret in SECRETS:
        assert [text for text in shown if secret in text or secret.encode().hex() in text.lower()] == []
