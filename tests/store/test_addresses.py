"""Database URLs on their way to the driver and back to a person."""

from __future__ import annotations

import pytest

from jobsup.store.addresses import parse, shown


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://ann@db1/jobsup", None),
        ("postgresql://ann:secret@db1:5433/jobsup?sslmode=require", "postgresql://ann:***@db1:5433/jobsup?sslmode=require"),
        ("postgresql://ann@db1,db2:5433/jobsup?target_session_attrs=read-write", None),
        ("postgresql://ann:secret@db1,db2/jobsup", "postgresql://ann:***@db1,db2/jobsup"),
        ("postgresql://db1,db2/jobsup", None),
        ("postgresql://ann@[::1]:5433,[::2]/jobsup", None),
    ],
)  # fmt: skip
def test_a_person_is_shown_a_url_as_it_was_written_without_its_password(url: str, told: str | None) -> None:
    assert shown(parse(url)) == (told or url)


def test_the_driver_is_told_of_each_host_with_its_port() -> None:
    query = parse("postgresql://ann@db1,[::2]:5433/jobsup?target_session_attrs=read-write").query
    assert query == {"host": "db1,::2", "port": "5432,5433", "target_session_attrs": "read-write"}
