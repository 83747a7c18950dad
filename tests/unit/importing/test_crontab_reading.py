"""Crontabs are read by cron's own rules: variables, comments, entries, per cent signs."""

from __future__ import annotations

import pytest

from jobsup.importing import crontab


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("A=b", ("A", "b")),
        ("  A = b c  ", ("A", "b c")),
        ("A=", ("A", "")),
        ('A = " b "', ("A", " b ")),
        ("'A'='b'", ("A", "b")),
        ("A=b=c", ("A", "b=c")),
        ("A=$HOME/bin", ("A", "$HOME/bin")),
        ('A="b" c', None),
        ('A="b', None),
        ("0 3 * * * X=1 true", None),
        ("@daily X=1 true", None),
        ("= b", None),
    ],
)
def test_a_variable_is_what_cron_takes_for_one(line: str, wanted: tuple[str, str] | None) -> None:
    assert crontab.variable(line) == wanted


@pytest.mark.parametrize(
    ("raw", "command", "text"),
    [
        ("date +\\%F", "date +%F", None),
        ("cat%a%b", "cat", "a\nb"),
        ("cat%a\\%b", "cat", "a%b"),
        ("cat%", "cat", ""),
        ("cat%%a", "cat", "\na"),
        ("a \\\\%b", "a \\\\", "b"),
        ("cat%a\\b\\", "cat", "a\\b\\"),
        ("printf 'a\\n'", "printf 'a\\n'", None),
    ],
)
def test_the_first_bare_per_cent_sign_begins_the_input(raw: str, command: str, text: str | None) -> None:
    assert crontab.split_percent(raw) == (command, text)


def read(text: str, *, has_user: bool = False) -> tuple[list[crontab.Entry], list[str]]:
    entries, faults = crontab.read(text.encode(), "tab", has_user=has_user)
    return entries, [str(fault) for fault in faults]


def test_an_entry_has_the_variables_above_it_and_not_those_below() -> None:
    entries, _ = read("A=1\n* * * * * one\nA=2\nB=3\n* * * * * two\n")
    assert [entry.variables for entry in entries] == [{"A": "1"}, {"A": "2", "B": "3"}]


def test_a_comment_directly_above_describes_an_entry_but_a_line_switched_off_does_not() -> None:
    entries, _ = read("# far away\n\n# Nightly\n# backup\n0 3 * * * one\n#0 4 * * * old\n0 5 * * * two\n")
    assert [entry.comment for entry in entries] == ["Nightly backup", ""]


def test_the_user_column_is_parted_from_the_command() -> None:
    entries, _ = read("17 *\t* * *\troot    cd / && run-parts /etc/cron.hourly\n@daily ann x y\n", has_user=True)
    assert [(entry.schedule, entry.user, entry.command) for entry in entries] == [
        ("17 * * * *", "root", "cd / && run-parts /etc/cron.hourly"),
        ("@daily", "ann", "x y"),
    ]


def test_a_leading_minus_is_no_part_of_the_schedule() -> None:
    entries, faults = read("-*/5 * * * * x\n")
    assert (entries[0].schedule, entries[0].is_quiet, faults) == ("*/5 * * * *", True, [])


def test_lines_that_cannot_be_read_are_named_and_the_others_stay() -> None:
    entries, faults = crontab.read(b"* * * * *\nnonsense\n* * * * * ok\n* * * * * \xff\n* * * * * a\0b\n", "tab")
    assert [entry.place for entry in entries] == ["tab:3"]
    assert [fault.place for fault in faults] == ["tab:1", "tab:2", "tab:4", "tab:5"]
    assert "minute hour day-of-month month day-of-week command" in faults[1].message


def test_a_file_that_is_far_too_large_is_one_fault() -> None:
    entries, faults = crontab.read(b"#" * (crontab.CRONTAB_BYTES_MAX + 1), "tab")
    assert (entries, len(faults)) == ([], 1)
