"""Whom a job runs as: looked up by name or number, and refused in one line where we may not become it."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator

import pytest

from jobsup.worker import account
from jobsup.worker.account import find_account
from jobsup.worker.failure import NotStartedError

NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def as_a_user(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setattr(os, "getegid", lambda: 12345)
    account.own_home.cache_clear()
    yield
    account.own_home.cache_clear()  # a later test of this process is somebody else


def test_a_job_that_names_nobody_runs_as_who_we_are() -> None:
    assert find_account(None, None) is None


@pytest.mark.usefixtures("as_a_user")
def test_only_root_runs_jobs_as_somebody_else() -> None:
    with pytest.raises(NotStartedError, match=r'^user "nobody": only root can run jobs as somebody else$'):
        find_account("nobody")
    with pytest.raises(NotStartedError, match=r'^group "0": only root can run jobs as somebody else$'):
        find_account(None, "0")
    account = find_account(None, "12345")
    assert account is not None
    assert account.is_ours


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run jobs as another user")
def test_a_user_comes_with_the_groups_of_a_login_and_a_group_without() -> None:
    by_name, by_number = find_account("nobody"), find_account(str(NOBODY.pw_uid))
    assert by_name == by_number
    assert by_name is not None
    assert set(by_name.groups) == set(os.getgrouplist("nobody", NOBODY.pw_gid))
    alone = find_account(None, "daemon")
    assert alone is not None
    assert (alone.uid, alone.groups) == (0, ())


def test_what_is_not_on_this_machine_is_named() -> None:
    with pytest.raises(NotStartedError, match='user "no-such-user" does not exist on this machine'):
        find_account("no-such-user")
    with pytest.raises(NotStartedError, match='group "no-such-group" does not exist on this machine'):
        find_account(None, "no-such-group")
