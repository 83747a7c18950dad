"""Names are read from commands: valid, telling, and each given once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobsup.config.names import fault
from jobsup.importing.naming import Names, from_command


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/usr/local/bin/backup.sh --full >/dev/null 2>&1", "backup"),
        ("cd /srv/app && ./manage.py clearsessions", "manage-clearsessions"),
        ("nice -n 19 ionice -c3 /usr/bin/rsync -a /x /y", "rsync"),
        ("flock -n /tmp/lock timeout 5m python3 /srv/report.py daily", "report-daily"),
        ("test -x /usr/bin/certbot && perl -e 'sleep int(rand(9))' && certbot -q renew", "certbot-renew"),
        ("FOO=1 BAR=2 job go", "job-go"),
        ("[ -d /run ] && if [ ! -d /x ]; then /usr/lib/php/sessionclean; fi", "sessionclean"),
        ("", "job"),
        ("$(x)", "job"),
    ],
)
def test_a_command_is_named_by_the_program_that_matters(command: str, name: str) -> None:
    assert from_command(command) == name


@given(st.lists(st.text(max_size=100), max_size=5))
def test_any_commands_get_valid_names_and_no_two_the_same(commands: list[str]) -> None:
    names = Names(["job"])
    given_out = [names.give(from_command(command)) for command in commands]
    assert len({*given_out, "job"}) == len(commands) + 1
    assert [fault(name) for name in given_out] == [None] * len(commands)


def test_a_long_name_stays_valid_with_its_number() -> None:
    names = Names()
    assert [len(names.give("x" * 64)) for _ in range(12)] == [64] * 12
