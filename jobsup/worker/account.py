"""The account a job runs as, when it names one."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass

from jobsup.worker.failure import NotStartedError


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine, with the groups the system's database gives it."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    shell: str

    @property
    def is_ours(self) -> bool:
        """It is who we are already: nothing to change into."""
        return self.uid == os.geteuid()


def find_account(user: str) -> Account:
    """Look a user up by name or number; NotStartedError when there is none, or when we may not become it."""
    try:
        entry = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        raise NotStartedError(f'user "{user}" does not exist on this machine') from None
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    account = Account(entry.pw_name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir, entry.pw_shell)
    if not account.is_ours and os.geteuid() != 0:
        raise NotStartedError(f'user "{user}": only root can run jobs as another user')
    return account


def own_home() -> str:
    """Return the home of whoever we are, as the system's database has it: what `HOME` says is not asked."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return "/"
