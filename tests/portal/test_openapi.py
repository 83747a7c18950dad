"""The API against its own document: real answers have the shapes it tells, and no input it allows makes it fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from jobsup.portal.api import openapi
from jobsup.portal.app import entries
from jobsup.portal.limits import Buckets
from jobsup.portal.routes import Entry
from jobsup.store import audit, tokens
from tests.support.clock import FakeClock
from tests.support.house import ORIGIN, House, quick_passwords
from tests.support.store import add_log, add_worker, create_database

OPERATIONS = [entry for entry in entries() if entry.name]
DOCUMENT = openapi.describe()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
EXAMPLES = 8
"""Calls of each operation that are made up from the document."""


@pytest.fixture(scope="module")
def real_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house with something of everything that can be asked for."""
    folder = tmp_path_factory.mktemp("house")
    database = create_database(folder / "jobsup.db", clock=FakeClock())
    opened = House(database, folder)
    add_log(database, opened.ended, b"some output x\n")
    add_worker(database)
    audit.record(database, actor="ann", origin="portal", verb="job.run", subject="backup", detail={"run": 1})
    opened.keep()
    with quick_passwords():
        yield opened
    opened.close()
    database.close()


@pytest.fixture
def house(real_house: House) -> Iterator[House]:
    yield real_house
    real_house.rewind()


def answer_schema(entry: Entry, status: int) -> dict[str, Any]:
    """Return the schema of an answer, with the parts it refers to."""
    path = entry.path.replace(":int", "")
    responses = DOCUMENT["paths"][path][entry.method.lower()]["responses"]
    content = responses[str(status)]["content"]["application/json"]["schema"]
    return {**content, "components": DOCUMENT["components"]}


@pytest.mark.parametrize(
    "entry", [each for each in OPERATIONS if each.media == "application/json"], ids=lambda e: e.name
)
def test_a_real_answer_has_the_shape_that_is_told(house: House, entry: Entry) -> None:
    if entry.name == "hook":
        answer = house.client.post(f"/hook/{house.hook}")
    else:
        answer = house.send_with(house.tokens.get(entry.scope, house.tokens["read"]), entry)
    assert (
        str(answer.status_code) in DOCUMENT["paths"][entry.path.replace(":int", "")][entry.method.lower()]["responses"]
    )
    jsonschema_rs.validator_for(answer_schema(entry, answer.status_code), validate_formats=True).validate(answer.json())


@pytest.mark.parametrize("path", ["/api/v1/jobs/bakup", "/api/v1/runs?last=0", "/api/v1/nothing", "/hook/wrong"])
def test_a_problem_has_the_shape_that_is_told(house: House, path: str) -> None:
    send = house.client.post if path.startswith("/hook") else house.client.get
    answer = send(path, headers={"Authorization": f"Bearer {house.tokens['read']}"} if "api" in path else {})
    assert answer.headers["content-type"] == "application/problem+json"
    jsonschema_rs.validator_for(DOCUMENT["components"]["schemas"]["Problem"]).validate(answer.json())


@pytest.fixture(scope="module")
def open_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house for made up calls, on a real clock, whose job has ended runs with output and no worker."""
    folder = tmp_path_factory.mktemp("fuzz")
    database = create_database(folder / "jobsup.db")
    opened = House(database, folder)
    add_log(database, opened.ended, b"output\n")
    opened.every = tokens.create(database, "every", tokens.SCOPES, by="test")
    opened.site.hooks = opened.site.tokens = Buckets(database.clock, burst=1e9)
    with quick_passwords():
        yield opened
    opened.close()
    database.close()


BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]


@pytest.mark.parametrize("entry", [each for each in OPERATIONS if each.name != "followLog"], ids=lambda each: each.name)
def test_no_input_makes_it_fail(open_house: House, entry: Entry) -> None:
    """Calls made up from the document, right and wrong, are answered, and with 5xx only where that is the answer."""
    operation = SCHEMA[entry.path.replace(":int", "")][entry.method]
    headers = {"Authorization": f"Bearer {open_house.every}"} if entry.role is not None else {}

    @BOUNDED
    @given(case=st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in MODES)))
    def call(case: schemathesis.Case) -> None:
        asked = case.as_transport_kwargs(base_url=ORIGIN)
        asked["headers"] = {**{k: v for k, v in asked["headers"].items() if v.isascii()}, **headers}
        answer = open_house.client.request(**_for_client(asked))
        kind = answer.headers.get("content-type", "")
        if (entry.name, answer.status_code) == ("readyz", 503):
            return
        assert answer.status_code < 500, answer.text
        assert answer.status_code < 400 or kind.startswith(("application/problem+json", "text/plain")), answer.text
        if 200 <= answer.status_code < 300 and kind == "application/json":
            validator = jsonschema_rs.validator_for(answer_schema(entry, answer.status_code), validate_formats=True)
            validator.validate(answer.json())

    call()


def _for_client(asked: dict[str, Any]) -> dict[str, Any]:
    """Put what the requests library takes as another takes it."""
    told = {key: asked[key] for key in ("method", "url", "headers", "params", "json") if asked.get(key) is not None}
    if "data" in asked:
        data = asked["data"]
        told["content" if isinstance(data, bytes | str) else "data"] = data
    return told
