"""Parameters typed on the command line."""

from __future__ import annotations

import pytest

from jobsup.actions.params import read_params
from jobsup.errors import UsageError
from jobsup.model import JobKind, JobSpec, ParamSpec

JOB = JobSpec(
    "report",
    JobKind.COMMAND,
    command="true",
    params=(
        ParamSpec("day", "string", choices=("monday", "friday")),
        ParamSpec("pages", "integer", required=True),
        ParamSpec("scale", "number", default=1.5),
        ParamSpec("draft", "boolean"),
    ),
)


def test_values_are_typed_and_defaults_left_to_the_run() -> None:
    given = {"pages": "3", "scale": "0.5", "draft": "yes", "day": "friday"}
    assert read_params(JOB, given) == {"pages": 3, "scale": 0.5, "draft": True, "day": "friday"}
    assert read_params(JOB, {"pages": "-1"}) == {"pages": -1}


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        read_params(JOB, {"dya": "monday", "day": "sunday", "scale": "inf", "draft": "maybe"})
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    assert 'has no parameter "dya": it has day, pages, scale, draft; did you mean "day"?' in lines[0]
    assert "parameter day must be one of monday, friday, not 'sunday'" in lines[1]
    assert "parameter scale must be a number, not 'inf'" in lines[2]
    assert "parameter draft must be true or false, not 'maybe'" in lines[3]
    assert "parameter pages is required: add --param pages=..." in lines[4]
