"""`jobsup user`, `token` and `audit`, on a database of its own."""

from __future__ import annotations

import subprocess

import pytest

from tests.support.command import forked
from tests.support.instance import Instance, instances

__all__ = ["instances"]

PASSWORD = "seven horses in a row"


@pytest.fixture
def here(instances: list[Instance]) -> Instance:
    """A configuration whose database is made, and nothing that runs."""
    instance = Instance('[[job]]\nname = "deploy"\ncommand = "true"\n')
    instances.append(instance)
    assert instance.cli("db", "upgrade").returncode == 0
    return instance


def typed(instance: Instance, *arguments: str, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
    """Run a verb that reads a password from standard input."""
    return forked(*arguments, "-c", str(instance.config), cwd=instance.folder, stdin=f"{password}\n")


def test_users_are_made_changed_and_deleted_and_the_audit_tells_it(here: Instance) -> None:
    assert typed(here, "user", "add", "ann", "--role", "admin").returncode == 0
    assert typed(here, "user", "add", "ann").returncode == 6
    assert typed(here, "user", "add", "bob", password="short").returncode == 2
    assert typed(here, "user", "add", "bob").returncode == 0
    assert here.cli("user", "role", "bob", "operator").returncode == 0
    assert typed(here, "user", "passwd", "bob", password="eight horses in a row").returncode == 0
    assert [(user["name"], user["role"]) for user in here.json("user", "list")["users"]] == [
        ("ann", "admin"),
        ("bob", "operator"),
    ]
    last = here.cli("user", "rm", "ann")
    assert (last.returncode, "only admin" in last.stderr) == (6, True)
    assert here.cli("user", "rm", "bob").returncode == 0
    told = [(row["verb"], row["outcome"]) for row in here.json("audit")["audit"]]
    assert [verb for verb, outcome in told if outcome == "done"] == [
        "user.rm",
        "user.passwd",
        "user.role",
        "user.add",
        "user.add",
    ]
    assert [verb for verb, outcome in told if outcome == "refused"] == ["user.rm", "user.add", "user.add"]
    assert PASSWORD not in here.cli("audit", "--json").stdout


def test_a_token_is_shown_once_and_listed_without_its_secret(here: Instance) -> None:
    made = here.cli("token", "create", "ci", "--scope", "read", "--scope", "run")
    secret = made.stdout.strip()
    assert (made.returncode, secret.startswith("jobsup_")) == (0, True)
    listed = here.cli("token", "list", "--json").stdout
    assert '"ci"' in listed
    assert secret not in listed
    assert here.cli("token", "create", "x", "--scope", "everything").returncode == 2
    assert here.cli("token", "create", "x").returncode == 2
    assert here.cli("token", "create", "hook", "--job", "deploi").returncode == 4
    assert here.cli("token", "revoke", "ci").returncode == 0
    assert here.cli("token", "revoke", "ci").returncode == 4
