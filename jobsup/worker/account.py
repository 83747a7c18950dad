"""The account a job runs as, when it names one."""

from __future__ import annotations

import functools
import grp
import os
import pwd
from dataclasses import dataclass, replace

from jobsup.worker.failure import NotStartedError

SHELL = "/bin/sh"
"""What a job of another user finds as `SHELL`, as with cron: not the account's own, which may let nobody in."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine, with the groups the system's database gives it, as at a login."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str

    @property
    def is_ours(self) -> bool:
        """It is who we are already: nothing to change into."""
        return (self.uid, self.gid) == (os.geteuid(), os.getegid())


def find_account(user: str | None, group: str | None = None) -> Account | None:
    """Look a user and a group up by name or number; None when neither is named.

    A group is the primary one in place of the user's own; alone it goes with who we are, and without our other groups.
    NotStartedError when there is no such user or group, or when we may not become it.
    """
    account = _user(user) if user is not None else _ourselves() if group is not None else None
    if account is None:
        return None
    if group is not None:
        account = replace(account, gid=_group(group))
    if not account.is_ours and os.geteuid() != 0:
        what = f'user "{user}"' if user is not None and account.uid != os.geteuid() else f'group "{group}"'
        raise NotStartedError(f"{what}: only root can run jobs as somebody else")
    return account


@functools.cache
def own_home() -> str:
    """Return the home of whoever we are, as the system's database has it: what `HOME` says is not asked."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return "/"


def _user(user: str) -> Account:
    try:
        entry = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        raise NotStartedError(f'user "{user}" does not exist on this machine') from None
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir)


def _ourselves() -> Account:
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return Account(name, uid, os.getegid(), (), own_home())


def _group(group: str) -> int:
    try:
        return int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise NotStartedError(f'group "{group}" does not exist on this machine') from None
