"""Getting in: the set-up page, signing in, sessions and their end, roles, and the last admin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from jobsup.actions import passwords
from jobsup.config.settings import Config, PortalSettings
from jobsup.errors import ConfigError, ConflictError, UsageError
from jobsup.model import Role
from jobsup.portal import opening
from jobsup.portal.app import create, entries
from jobsup.portal.gate import COOKIE
from jobsup.portal.handles import Handles
from jobsup.portal.limits import Tries
from jobsup.portal.routes import Entry
from jobsup.portal.site import Site
from jobsup.store import audit, tokens, users
from jobsup.store.engine import Database
from tests.support.asgi import Client
from tests.support.clock import FakeClock
from tests.support.house import OWN, PASSWORD, PASSWORD_HASH, House, quick_passwords
from tests.support.store import connect, create_database


@pytest.fixture(scope="module")
def one_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with closing(create_database(folder / "jobsup.db", clock=FakeClock())) as database:
        opened = House(database, folder)
        yield opened
        opened.close()


@pytest.fixture
def house(one_house: House) -> Iterator[House]:
    """The same for each test, and afterwards as it was before."""
    with quick_passwords():
        yield one_house
    one_house.rewind()


def sign_in(house: House, name: str, password: str, target: str = "/about") -> tuple[int, str]:
    """Send the form; returns the status and where it leads."""
    fields = {"name": name, "password": password, "next": target}
    answer = house.client.post("/login", data=fields, headers=OWN, follow_redirects=False)
    return answer.status_code, answer.headers.get("location", "")


def test_signing_in_leads_where_one_wanted_to_go_and_nowhere_else(house: House) -> None:
    assert sign_in(house, "viewer", PASSWORD) == (303, "/about")
    for target in ("//evil.example", "https://evil.example", "/\\evil.example", "", "javascript:alert(1)", "/a\nb"):
        house.client.cookies.clear()
        assert sign_in(house, "viewer", PASSWORD, target) == (303, "/"), target


def test_the_session_cookie_is_hidden_from_scripts_and_other_sites(house: House) -> None:
    fields = {"name": "viewer", "password": PASSWORD}
    cookie = house.client.post("/login", data=fields, headers=OWN, follow_redirects=False).headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie


def test_behind_a_proxy_the_cookie_goes_over_tls_alone_and_the_browser_is_told_so(db: Database, tmp_path: Path) -> None:
    users.add(db, "ann", Role.VIEWER, PASSWORD_HASH)
    address, settings = (
        "https://jobs.example.org",
        PortalSettings(behind_proxy=True, allowed_hosts=("jobs.example.org",)),
    )
    with closing(Handles(lambda: connect(db), count=1)) as handles:
        site = Site(Config(path=str(tmp_path / "jobsup.toml"), portal=settings), handles, clock=db.clock)
        with closing(Client(create(site), base_url=address)) as client:
            fields = {"name": "ann", "password": PASSWORD}
            answer = client.post("/login", data=fields, headers={"Origin": address}, follow_redirects=False)
            cookie = answer.headers["set-cookie"]
            assert cookie.startswith("__Host-jobsup_session=")
            assert "Secure" in cookie
            assert "max-age=" in answer.headers["strict-transport-security"]
            assert client.get("/account").status_code == 200


def test_a_wrong_password_and_an_unknown_name_are_told_alike_and_their_text_is_kept_nowhere(house: House) -> None:
    first = house.client.post("/login", data={"name": "viewer", "password": "wrong"}, headers=OWN)
    second = house.client.post("/login", data={"name": "my secret", "password": "wrong"}, headers=OWN)
    assert first.status_code == second.status_code == 403
    assert first.text.replace("viewer", "") == second.text.replace("my secret", "")
    rows = audit.entries(house.database)
    assert [(row.verb, row.outcome, row.actor, row.subject) for row in rows] == [
        ("session.begin", "refused", "", "")
    ] * 2


def test_after_five_wrong_passwords_even_the_right_one_has_to_wait(house: House) -> None:
    for _ in range(5):
        house.site.tries.failed("viewer")
    assert sign_in(house, "viewer", PASSWORD)[0] == 429
    assert isinstance(house.database.clock, FakeClock)
    house.database.clock.advance(2)
    assert sign_in(house, "viewer", PASSWORD)[0] == 303


def test_the_wait_doubles_and_is_forgotten(clock: FakeClock) -> None:
    tries = Tries(clock)
    waits = []
    for _ in range(8):
        tries.failed("ann")
        waits.append(round(tries.wait("ann")))
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8]
    clock.advance(901)
    tries.failed("ann")
    assert tries.wait("ann", "somebody else") == 0


def test_a_new_password_ends_every_session_and_signs_this_browser_in_again(house: House) -> None:
    before = house.secrets[Role.VIEWER]
    entry = next(each for each in _entries() if each.path == "/account/password")
    fields = {"password": "eight horses in a row", "again": "eight horses in a row"}
    answer = house.send_as(Role.VIEWER, entry, fields=fields)
    assert answer.status_code == 303
    assert users.find_session(house.database, before) is None
    assert users.find_session(house.database, answer.cookies[COOKIE]) is not None


def test_a_wrong_present_password_is_refused_written_down_and_counted(house: House) -> None:
    entry = next(each for each in _entries() if each.path == "/account/password")
    fields = {"old": "not mine", "password": "eight horses in a row", "again": "eight horses in a row"}
    assert house.send_as(Role.VIEWER, entry, fields=fields).status_code == 403
    (row, *_) = audit.entries(house.database)
    assert (row.verb, row.outcome, row.actor, row.subject) == ("user.passwd", "refused", "viewer", "viewer")
    assert row.address == "testclient"
    assert row.detail == {"error": "the present password is wrong"}
    for _ in range(4):
        house.send_as(Role.VIEWER, entry, fields=fields)
    assert house.send_as(Role.VIEWER, entry, fields={**fields, "old": PASSWORD}).status_code == 429
    assert users.find_session(house.database, house.secrets[Role.VIEWER]) is not None


def test_signing_out_ends_the_session_for_good(house: House) -> None:
    entry = next(each for each in _entries() if each.path == "/logout")
    house.send_as(Role.VIEWER, entry)
    assert users.find_session(house.database, house.secrets[Role.VIEWER]) is None


def test_another_role_holds_at_once_in_sessions_that_go_on(house: House) -> None:
    users.set_role(house.database, "admin", Role.ADMIN)
    users.add(house.database, "second", Role.ADMIN, "hash")
    users.set_role(house.database, "admin", Role.VIEWER)
    entry = next(each for each in _entries() if each.path == "/admin")
    assert house.send_as(Role.ADMIN, entry).status_code == 403


def test_a_session_ends_with_its_lifetime(db: Database, clock: FakeClock) -> None:
    users.add(db, "ann", Role.VIEWER, "hash")
    secret = users.begin_session(db, "ann", "hash", lifetime=timedelta(hours=1), address="", agent="")
    clock.advance(3599)
    assert users.find_session(db, secret) is not None
    clock.advance(1)
    assert users.find_session(db, secret) is None


def test_a_session_is_not_begun_with_a_password_that_was_changed_meanwhile(db: Database) -> None:
    users.add(db, "ann", Role.VIEWER, "old")
    users.set_password(db, "ann", "new")
    with pytest.raises(ConflictError, match="changed"):
        users.begin_session(db, "ann", "old", lifetime=timedelta(hours=1), address="", agent="")


def test_a_user_has_no_more_sessions_than_the_bound_and_the_oldest_end_first(db: Database, clock: FakeClock) -> None:
    users.add(db, "ann", Role.VIEWER, "hash")
    secrets = []
    for _ in range(users.SESSIONS_MAX + 2):
        secrets.append(users.begin_session(db, "ann", "hash", lifetime=timedelta(hours=1), address="", agent=""))
        clock.advance(1)
    alive = [users.find_session(db, secret) is not None for secret in secrets]
    assert alive == [False] * 2 + [True] * users.SESSIONS_MAX


def test_the_last_admin_stays_an_admin(db: Database) -> None:
    users.add(db, "ann", Role.ADMIN, "hash")
    for change in (lambda: users.remove(db, "ann"), lambda: users.set_role(db, "ann", Role.VIEWER)):
        with pytest.raises(ConflictError, match="only admin"):
            change()
    users.add(db, "bob", Role.ADMIN, "hash")
    users.remove(db, "ann")
    assert [user.name for user in users.list_users(db)] == ["bob"]


def test_only_one_first_user_is_made(db: Database) -> None:
    users.add_first(db, "ann", "hash")
    with pytest.raises(ConflictError, match="set up already"):
        users.add_first(db, "bob", "hash")


def test_the_set_up_page_wants_its_token_makes_an_admin_and_closes(house: House) -> None:
    for user in users.list_users(house.database):
        if user.role is not Role.ADMIN:
            users.remove(house.database, user.name)
    with house.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM portal_user")
    file = house.site.setup_file
    of_another_database = opening.write_setup_token(str(file.parent))
    users.open_setup(house.database, opening.write_setup_token(str(file.parent)))
    assert file.stat().st_mode & 0o777 == 0o600
    token = opening.read_setup_token(file)
    assert house.client.get("/setup?token=wrong").status_code == 403
    assert house.client.get(f"/setup?token={of_another_database}").status_code == 403
    assert house.client.get(f"/setup?token={token}").status_code == 200
    fields = {"token": token, "name": "ann", "password": PASSWORD, "again": PASSWORD}
    assert house.client.post("/setup", data={**fields, "again": "x"}, headers=OWN).status_code == 400
    answer = house.client.post("/setup", data=fields, headers=OWN, follow_redirects=False)
    assert answer.status_code == 303
    assert [(user.name, user.role) for user in users.list_users(house.database)] == [("ann", Role.ADMIN)]
    assert not file.exists()
    assert not users.opens_setup(house.database, token)
    assert house.client.get(f"/setup?token={token}").status_code == 404


def test_a_password_is_kept_as_a_hash_that_only_it_matches() -> None:
    kept = passwords.make_hash(PASSWORD)
    assert kept.startswith("scrypt$32768$8$1$")
    assert passwords.matches(PASSWORD, kept)
    assert not passwords.matches(PASSWORD + " ", kept)
    assert not passwords.matches("", None)
    assert not passwords.matches(PASSWORD, "hash")


@pytest.mark.parametrize(
    "password", ["short", "aaaaaaaaaaaaaa", "password123", "1234567890", "Jobsup2027!", "x" * 2000]
)
def test_a_password_that_is_guessed_first_is_refused(password: str) -> None:
    with pytest.raises(UsageError):
        passwords.check(password)


def test_a_token_that_has_expired_or_was_revoked_is_none(db: Database, clock: FakeClock) -> None:
    secret = tokens.create(db, "ci", ["read"], by="ann", expires_at=clock.now() + timedelta(hours=1))
    assert tokens.find(db, secret) is not None
    clock.advance(3600)
    assert tokens.find(db, secret) is None
    other = tokens.create(db, "cd", ["read"], by="ann")
    tokens.revoke(db, "cd")
    assert tokens.find(db, other) is None


def test_a_portal_open_to_the_network_without_a_user_is_refused_with_the_fix() -> None:
    config = Config(path="/etc/jobsup.toml", portal=PortalSettings(enabled=True, host="0.0.0.0", behind_proxy=True))
    with pytest.raises(ConfigError, match="jobsup user add"):
        opening.refuse_open_door(config, has_users=False)
    opening.refuse_open_door(config, has_users=True)


def _entries() -> list[Entry]:
    return entries()
