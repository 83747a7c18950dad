"""`jobsup user`, `token` and `audit`: who may come in by the portal, and what was done."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

import click

from jobsup.cli.here import Here
from jobsup.cli.text import clean, print_json, say, table
from jobsup.cli.times import FUTURE, PAST, Instant, local, read
from jobsup.cli.verb import json_option, noun, verb
from jobsup.errors import UsageError
from jobsup.model import Role

PASSWORD_BYTES_MAX = 4096
LAST_MAX = 10_000

ROLE = click.Choice([role.value for role in Role])


@noun(
    "user",
    ("jobsup user add ann --role operator", "make a user; asks for the password"),
    ("jobsup user list", "who may sign in"),
)
def user(here: Here) -> None:
    """Make and change the users of the portal."""


@verb(
    "add",
    ("jobsup user add ann --role admin", "asks for the password"),
    ("jobsup user add bot --role viewer < file", "reads it from standard input"),
    group=user,
)
@click.argument("name")
@click.option("--role", type=ROLE, default=Role.VIEWER.value, show_default=True, help="What they may do.")
def add(here: Here, name: str, role: str) -> None:
    """Make a user."""
    from jobsup.actions.operations.access import ADD_USER

    password = _password()
    with here.gateway() as gate:
        gate.ask(ADD_USER, name=name, role=role, password=password)
    say(f"user {clean(name)} is {role}")


@verb(
    "passwd",
    ("jobsup user passwd ann", "asks for the new password"),
    ("jobsup user passwd ann < file", "reads it from standard input"),
    group=user,
)
@click.argument("name")
def passwd(here: Here, name: str) -> None:
    """Change a password; every session of the user ends."""
    from jobsup.actions.operations.access import SET_PASSWORD

    password = _password()
    with here.gateway() as gate:
        gate.ask(SET_PASSWORD, name=name, password=password)


@verb(
    "role",
    ("jobsup user role ann author", "let her make jobs too"),
    ("jobsup user role ann viewer", "let her only look"),
    group=user,
)
@click.argument("name")
@click.argument("role", type=ROLE)
def role_(here: Here, name: str, role: str) -> None:
    """Give a user another role; it holds at once, in every session."""
    from jobsup.actions.operations.access import SET_ROLE

    with here.gateway() as gate:
        gate.ask(SET_ROLE, name=name, role=role)


@verb(
    "rm",
    ("jobsup user rm ann", "she is signed out, and cannot sign in"),
    ("jobsup user rm ann -c other.toml", "of another instance"),
    group=user,
)
@click.argument("name")
def rm(here: Here, name: str) -> None:
    """Delete a user; the last admin stays."""
    from jobsup.actions.operations.access import REMOVE_USER

    with here.gateway() as gate:
        gate.ask(REMOVE_USER, name=name)


@verb("list", ("jobsup user list", "who may sign in"), ("jobsup user list --json", "for a program"), group=user)
@json_option
def list_(here: Here, as_json: bool) -> None:
    """List the users."""
    from jobsup.actions.operations.access import LIST_USERS

    with here.gateway() as gate:
        found = gate.ask(LIST_USERS)["users"]
    if as_json:
        print_json({"users": found})
    elif found:
        rows = [(each["name"], each["role"], local(read(each["last_login_at"]), nothing="never")) for each in found]
        click.echo(table(("USER", "ROLE", "LAST SIGNED IN"), rows))
    else:
        say("no users")


@noun(
    "token",
    ("jobsup token create ci --scope read --scope run", "for the API"),
    ("jobsup token create push --job deploy", "for one job's own address, /hook/TOKEN"),
)
def token(here: Here) -> None:
    """Make and revoke the tokens of programs."""


@verb(
    "create",
    ("jobsup token create ci --scope read --scope run", "for the API"),
    ("jobsup token create push --job deploy", "for the address that starts one job"),
    group=token,
)
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    metavar="SCOPE",
    help="read, run, cancel, pause, edit or manage; or a role's name for all it may.",
)
@click.option("--job", metavar="JOB", help="Only start this job, by POST /hook/TOKEN.")
@click.option("--expires", type=Instant(FUTURE), metavar="TIME", help="When it ends.")
@json_option
def create(
    here: Here, *, name: str, scopes: tuple[str, ...], job: str | None, expires: datetime | None, as_json: bool
) -> None:
    """Make a token and print it; nothing shows it again."""
    from jobsup.actions.operations.access import CREATE_TOKEN

    with here.gateway() as gate:
        made = gate.ask(CREATE_TOKEN, name=name, scopes=list(scopes) or None, job=job, expires_at=expires)
    if as_json:
        print_json(made)
    else:
        click.echo(made["token"])


@verb("list", ("jobsup token list", "all tokens"), ("jobsup token list --json", "for a program"), group=token)
@json_option
def token_list(here: Here, as_json: bool) -> None:
    """List the tokens, without what they are."""
    from jobsup.actions.operations.access import LIST_TOKENS

    with here.gateway() as gate:
        found = gate.ask(LIST_TOKENS)["tokens"]
    if as_json:
        print_json({"tokens": found})
    elif found:
        rows = [
            (
                each["name"],
                clean(each["job"] or ",".join(each["scopes"])),
                clean(each["created_by"]),
                local(read(each["last_used_at"]), nothing="never"),
                local(read(each["expires_at"]), nothing="never"),
            )
            for each in found
        ]
        click.echo(table(("TOKEN", "FOR", "MADE BY", "LAST USED", "EXPIRES"), rows))
    else:
        say("no tokens")


@verb(
    "revoke",
    ("jobsup token revoke ci", "it is good for nothing from now on"),
    ("jobsup token revoke ci -c other.toml", "of another instance"),
    group=token,
)
@click.argument("name")
def revoke(here: Here, name: str) -> None:
    """Delete a token."""
    from jobsup.actions.operations.access import REVOKE_TOKEN

    with here.gateway() as gate:
        gate.ask(REVOKE_TOKEN, name=name)


@verb(
    "audit",
    ("jobsup audit --since 24h", "what people did in one day"),
    ("jobsup audit --actor ann --json", "what one did, for a program"),
)
@click.option("--since", type=Instant(PAST), metavar="TIME", help="Only since then.")
@click.option("--actor", metavar="NAME", help="Only what one did.")
@click.option("--subject", metavar="NAME", help="Only what was done to one job, run, user or token.")
@click.option("--verb", "word", metavar="WORD", help="Only this, such as job.run.")
@click.option("--last", type=click.IntRange(1, LAST_MAX), default=50, show_default=True, help="How many.")
@json_option
def audit(
    here: Here,
    *,
    since: datetime | None,
    actor: str | None,
    subject: str | None,
    word: str | None,
    last: int,
    as_json: bool,
) -> None:
    """Show who did what, the newest first."""
    from jobsup.actions.operations.access import LIST_AUDIT

    with here.gateway() as gate:
        found = gate.ask(LIST_AUDIT, since=since, actor=actor, subject=subject, verb=word, last=last)["audit"]
    if as_json:
        print_json({"audit": found})
    elif found:
        click.echo(table(("WHEN", "WHO", "BY", "FROM", "WHAT", "TO", "OUTCOME"), [_audit_row(each) for each in found]))
    else:
        say("nothing")


def _audit_row(each: dict[str, Any]) -> tuple[str, ...]:
    told = (clean(each[key]) for key in ("actor", "origin", "address", "verb", "subject", "outcome"))
    return local(read(each["at"])), *told


def _password() -> str:
    """Ask a person twice; take the first line of standard input from a program."""
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    text = sys.stdin.readline(PASSWORD_BYTES_MAX).rstrip("\n")
    if not text:
        raise UsageError("no password: type it at a terminal, or give it as the first line of standard input")
    return text
