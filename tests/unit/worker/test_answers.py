"""What a runner says of its calls arrives as it was meant."""

from __future__ import annotations

import pytest

from jobsup.worker import answers
from jobsup.worker.answers import Answer, Notice

FIGURES = (7, True, 10.25, 11.5, 1 << 40, 3, 0.5, 0.125, 512, 1024, 1 << 33, 1 << 32)


@pytest.mark.parametrize(
    "ending",
    [
        {"exit_code": 0, "result": None},
        {"exit_code": 0, "result": '{"exit_code": 1}'},
        {"exit_code": 3},
        {"reason": "exception", "error": "ValueError: ü"},
    ],
)
def test_an_answer_is_read_as_it_was_written(ending: dict[str, object]) -> None:
    answer = answers.read(answers.write(ending, *FIGURES))
    assert isinstance(answer, Answer)

    assert answer == Answer(*FIGURES, ending)  # type: ignore[arg-type]  # in their order
    assert answer.ending.get("result") == ending.get("result")


def test_a_call_that_was_not_made_is_named() -> None:
    assert answers.read(answers.void(12)) == Notice(12)
