"""What all verbs share: examples at the top of their help, and `-c` wherever it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from jobsup.cli.here import Here

Example = tuple[str, str]
"""A command, and what it does."""

pass_here = click.make_pass_decorator(Here)

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Verb(click.Command):
    """A command whose help begins with examples."""

    def __init__(self, *args: Any, examples: Sequence[Example] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(formatter, self.examples)
        super().format_help(ctx, formatter)


class Noun(Verb, click.Group):
    """A verb that has verbs of its own, such as `db upgrade`."""


def write_examples(formatter: click.HelpFormatter, examples: Sequence[Example]) -> None:
    with formatter.section("Examples"):
        formatter.write_dl(examples, col_max=50)
    formatter.write_paragraph()


def config_option(function: _Function) -> _Function:
    """Let a command take `-c FILE`, or `--url` and `--token`; they are remembered in the context's `Here`."""

    def remember(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
        here = ctx.ensure_object(Here)
        if value is not None:
            setattr(here, _PLACES[str(parameter.name)], value)

    with_token = click.option(
        "--token",
        "portal_token",
        metavar="TOKEN",
        expose_value=False,
        callback=remember,
        help="For --url; better JOBSUP_TOKEN.",
    )(function)
    with_url = click.option(
        "--url",
        "portal_url",
        metavar="URL",
        expose_value=False,
        callback=remember,
        help="Act through the portal at this address; else JOBSUP_URL, else on this machine.",
    )(with_token)
    return click.option(
        "-c",
        "--config",
        metavar="FILE",
        expose_value=False,
        callback=remember,
        help="The configuration; else JOBSUP_CONFIG, ./jobsup.toml, the user's, /etc/jobsup/jobsup.toml.",
    )(with_url)


_PLACES = {"config": "option", "portal_url": "url_option", "portal_token": "token_option"}


def verb(name: str, *examples: Example, group: click.Group | None = None) -> Callable[[Callable[..., Any]], Verb]:
    """Make a function a verb: its docstring is the help, and it is handed the `Here` first."""

    def decorate(function: Callable[..., Any]) -> Verb:
        command: Callable[[Callable[..., Any]], Verb] = click.command(name, cls=Verb, examples=examples)
        made = command(config_option(pass_here(function)))
        if group is not None:
            group.add_command(made)
        return made

    return decorate


def noun(name: str, *examples: Example) -> Callable[[Callable[..., Any]], Noun]:
    """Make a function a group of verbs."""

    def decorate(function: Callable[..., Any]) -> Noun:
        group: Callable[[Callable[..., Any]], Noun] = click.group(name, cls=Noun, examples=examples)
        return group(config_option(pass_here(function)))

    return decorate


def json_option(function: _Function) -> _Function:
    """Let a verb print JSON."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")(function)
