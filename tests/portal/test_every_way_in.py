"""Every route by every method with every kind of wrong credentials: what should change nothing changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from jobsup.model import Role
from jobsup.portal.app import entries
from jobsup.portal.call import csrf_of
from jobsup.portal.door import HEADERS, METHODS
from jobsup.portal.gate import COOKIE
from jobsup.portal.limits import DENIALS_BURST, DENIALS_PER_SECOND, Buckets
from jobsup.portal.routes import Entry
from tests.support.clock import FakeClock
from tests.support.house import ORIGIN, OWN, ROLES, House, quick_passwords
from tests.support.store import create_database

ENTRIES = entries()
CLOSED = [entry for entry in ENTRIES if entry.role is not None]
CHANGING = [entry for entry in CLOSED if entry.method != "GET"]
READING = [entry for entry in ENTRIES if entry.method == "GET"]
OPEN = {"/login", "/setup", "/hook/{token}", "/healthz", "/readyz"}
"""What anybody may ask; whoever adds one says so here."""
REFUSED = {303, 401, 403}


def name_of(entry: Entry) -> str:
    return f"{entry.method} {entry.path}"


@pytest.fixture(scope="module")
def shut_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One house for all tests."""
    folder = tmp_path_factory.mktemp("house")
    database = create_database(folder / "jobsup.db", clock=FakeClock())
    opened = House(database, folder)
    with quick_passwords():
        yield opened
    opened.close()
    database.close()


@pytest.fixture
def house(shut_house: House) -> Iterator[House]:
    """The same for a test in which something changes: afterwards all is as before."""
    yield shut_house
    shut_house.rewind()


@pytest.mark.parametrize("entry", CLOSED, ids=name_of)
def test_nobody_gets_in_without_good_credentials(shut_house: House, entry: Entry) -> None:
    before = shut_house.state()
    for headers in (
        {},
        OWN,
        {**OWN, "Cookie": f"{COOKIE}=wrong"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {shut_house.hook}"},
        {"Authorization": "Basic YTpi"},
    ):
        answer = shut_house.send(entry, headers=headers)
        assert answer.status_code in REFUSED, (headers, answer.status_code, answer.text)
        if answer.status_code == 303:
            assert answer.headers["location"].startswith("/login")
        assert shut_house.state() == before


@pytest.mark.parametrize("entry", CLOSED, ids=name_of)
def test_a_role_that_is_too_low_is_refused_and_one_that_is_enough_is_not(house: House, entry: Entry) -> None:
    before = house.state()
    assert entry.role is not None
    for role in ROLES:
        if not role.includes(entry.role):
            answer = house.send_as(role, entry)
            assert answer.status_code == 403, role
            assert house.state() == before
    answer = house.send_as(entry.role, entry)
    assert answer.status_code not in (401, 403, 405, 421, 500), answer.text


@pytest.mark.parametrize("entry", CLOSED, ids=name_of)
def test_a_token_opens_only_what_its_scope_says(house: House, entry: Entry) -> None:
    before = house.state()
    for scope, token in house.tokens.items():
        if scope != entry.scope:
            assert house.send_with(token, entry).status_code == 403, scope
            assert house.state() == before
    if entry.scope:
        assert house.send_with(house.tokens[entry.scope], entry).status_code in (200, 201)


@pytest.mark.parametrize("entry", CHANGING, ids=name_of)
def test_a_form_without_the_token_of_its_session_changes_nothing(shut_house: House, entry: Entry) -> None:
    before = shut_house.state()
    for csrf in ("", "wrong", csrf_of("another session"), csrf_of(shut_house.secrets[Role.VIEWER])):
        answer = shut_house.send_as(Role.ADMIN, entry, csrf=csrf)
        assert answer.status_code == 403, csrf
        assert shut_house.state() == before
    answer = shut_house.send_as(Role.ADMIN, entry, csrf="", fields={"csrf": "wrong"})
    assert answer.status_code == 403
    assert shut_house.state() == before


@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
def test_a_host_we_do_not_go_by_is_refused(shut_house: House, entry: Entry) -> None:
    before = shut_house.state()
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[::1", "evil.example:8765"):
        answer = shut_house.send_as(Role.ADMIN, entry, headers={"Host": host})
        assert answer.status_code == 421, host
        assert shut_house.state() == before


@pytest.mark.parametrize("entry", [each for each in ENTRIES if each.method != "GET"], ids=name_of)
def test_a_request_from_another_site_changes_nothing(shut_house: House, entry: Entry) -> None:
    before = shut_house.state()
    for headers in (
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "null"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "same-site"},
        {"Origin": f"{ORIGIN}.evil.example"},
        {"Origin": f"{ORIGIN}:8080"},
    ):
        assert shut_house.send_as(Role.ADMIN, entry, headers=headers).status_code == 403, headers
        assert shut_house.state() == before
    secret = shut_house.secrets[Role.ADMIN]
    bare = {"Cookie": f"{COOKIE}={secret}", "X-CSRF-Token": csrf_of(secret)}
    assert shut_house.send(entry, headers=bare).status_code == 403  # a cookie without any word on where it is from
    assert shut_house.state() == before


@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
def test_another_method_is_not_allowed(shut_house: House, entry: Entry) -> None:
    before = shut_house.state()
    known = {each.method for each in ENTRIES if each.path == entry.path}
    known |= {"HEAD"} if "GET" in known else set()
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"):
        if method not in known:
            answer = shut_house.send_as(Role.ADMIN, entry, method=method)
            assert answer.status_code in (404, 405), method
            assert shut_house.state() == before


@pytest.mark.parametrize("entry", READING, ids=name_of)
def test_reading_changes_no_state_whoever_reads(shut_house: House, entry: Entry) -> None:
    before, told = shut_house.state(), _audited(shut_house)
    for method in ("GET", "HEAD"):
        code = shut_house.send_as(Role.ADMIN, entry, method=method).status_code
        assert code < 500 or (entry.name, code) == ("readyz", 503)  # nobody schedules here
    shut_house.send_with(shut_house.tokens["read"], entry)
    assert shut_house.state() == before
    assert _audited(shut_house) == told


def _audited(house: House) -> int:
    with house.database.read() as connection:
        return int(connection.execute(text("SELECT count(*) FROM audit")).scalar_one())


AUDITED = [entry for entry in CHANGING if not entry.path.endswith(("/look", "/explain", "/bulk"))]
"""All but a mere look or question, and what writes one line for each of many."""


@pytest.mark.parametrize("entry", AUDITED, ids=name_of)
def test_what_is_done_stands_in_the_audit(house: House, entry: Entry) -> None:
    told = _audited(house)
    house.send_as(Role.ADMIN, entry)
    with house.database.read() as connection:
        statement = text("SELECT actor, origin, address, verb FROM audit ORDER BY id LIMIT -1 OFFSET :told")
        rows = connection.execute(statement, {"told": told}).all()
    assert rows
    assert {(row.actor, row.origin, row.address) for row in rows} == {("admin", "portal", "testclient")}


def test_who_may_not_do_what_they_want_stands_in_the_audit_but_cannot_fill_it(house: House) -> None:
    pause = next(each for each in CHANGING if each.path == "/jobs/{name}/pause")
    house.site.denials = Buckets(house.database.clock, rate=DENIALS_PER_SECOND, burst=DENIALS_BURST)
    told = _audited(house)
    for _ in range(100):
        assert house.send_as(Role.VIEWER, pause).status_code == 403
    with house.database.read() as connection:
        statement = text("SELECT actor, verb, subject, outcome FROM audit ORDER BY id LIMIT -1 OFFSET :told")
        rows = connection.execute(statement, {"told": told}).all()
    assert {tuple(row) for row in rows} == {("viewer", "access.deny", "/jobs/backup/pause", "refused")}
    assert len(rows) <= DENIALS_BURST


def test_every_answer_carries_the_headers_that_bind_the_browser(house: House) -> None:
    paths = ("/", "/login", "/nothing", "/static/app.css", "/static/../app.py", "/api/v1/jobs", "/hook/x")
    answers = [house.client.get(path, follow_redirects=False) for path in paths]
    answers.append(house.client.get("/", headers={"Host": "evil.example"}))
    for answer in answers:
        for name in (*HEADERS, "Cache-Control"):
            assert name in answer.headers, (answer.url, name)
        assert "unsafe" not in answer.headers["Content-Security-Policy"]


def test_no_way_in_has_a_method_that_the_door_does_not_know() -> None:
    assert {entry.method for entry in ENTRIES} <= METHODS
    assert {entry.path for entry in ENTRIES if entry.role is None} == OPEN


def test_a_body_over_the_limit_is_refused_whether_its_length_is_said_or_not(house: House) -> None:
    before = house.state()
    big = "x" * (1 << 20) + "x"
    said = house.client.post("/login", data={"name": big}, headers=OWN)

    def pieces() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * (1 << 16)

    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    unsaid = house.client.post("/login", content=pieces(), headers={**OWN, **kind})
    assert (said.status_code, unsaid.status_code) == (413, 413)
    assert house.state() == before


def test_an_address_that_asks_too_often_is_told_to_wait(house: House) -> None:
    before, house.site.buckets = house.site.buckets, Buckets(house.database.clock, rate=1, burst=3)
    codes = [house.client.get("/login").status_code for _ in range(5)]
    house.site.buckets = before
    assert codes == [200, 200, 200, 429, 429]
