"""What the README says is so: its commands parse, its tables are those of the code, its variables and keys exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from jobsup.cli.main import VERBS, cli
from jobsup.config.keys import SETTING_KEYS
from jobsup.config.load import load
from jobsup.errors import ExitCode
from jobsup.model import Reason, Status
from tests.portal.screenshots import PICTURE_BYTES_MAX, PICTURES, PICTURES_FOLDER, picture
from tests.support.config_folder import FixedClock

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
RUN_VARIABLES = {
    "RUN_ID",
    "ATTEMPT",
    "SCHEDULED_FOR",
    "JOB",
    "PARAM_",
    "INSTANCE",
    "PARENT_RUN_ID",
    "DEADLINE",
    "PARAMS",
}
PLACEHOLDERS = {"RUN": "1", "T": "2027-01-31", "FILE": "-"}
THE_PORTALS = {"portal", "user", "token", "audit"}
"""Verbs that may be told of where the portal is."""
OTHER_VARIABLES = {"JOBSUP_CONFIG", "JOBSUP_URL", "JOBSUP_TOKEN"}


def fences(language: str) -> list[str]:
    """Return the blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    """Return the text below a heading, up to the next heading of its height."""
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def table(text: str) -> list[list[str]]:
    """Return the cells of the first table in a text, without its head."""
    rows = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert rows is not None
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|\n"))] for line in rows[0].splitlines()[2:]]


def spans(text: str) -> list[str]:
    """Return what stands between single backticks."""
    return [span.replace(r"\|", "|") for span in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)]


def commands() -> Iterator[str]:
    """Find every `jobsup ...` of the README: in blocks, in the text, and in the table of commands."""
    for block in fences("sh"):
        for line in block.splitlines():
            yield from re.split(r"&&|\|\||;", line.partition("#")[0])
    for block in fences("console"):
        yield from (line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ "))
    text = re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)
    yield from (span for span in spans(text) if span.startswith("jobsup "))
    for row in table(section("Commands")):
        yield from _of_a_row(spans(row[0]))


def _of_a_row(words: list[str]) -> Iterator[str]:
    """Put options, which stand beside their verb, behind it; a name in capitals stands for one."""
    verb = ""
    for span in words:
        if not span.startswith("-"):
            verb = span
        yield f"jobsup {verb} {span if span.startswith('-') else ''}"


def arguments() -> list[list[str]]:
    """Return the words of each command behind its name, without where its output goes."""
    found = []
    for command in commands():
        words = shlex.split(re.split(r"\s[>|]\s", command)[0])
        if words and words[0].rpartition("/")[2] == "jobsup":
            found.append(words[1:])
    return found


def parse(command: click.Command, words: list[str], parent: click.Context | None = None) -> None:
    """Have click read the words as it would, and do nothing."""
    context = command.make_context(command.name or "jobsup", list(words), parent=parent)
    if isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]  # click keeps what is the inner command's here
        _name, inner, left = command.resolve_command(context, rest)
        assert inner is not None
        parse(inner, left, context)


@pytest.mark.parametrize("words", [pytest.param(words, id=" ".join(words)) for words in arguments()])
def test_each_command_is_one(words: list[str]) -> None:
    try:
        parse(cli, [PLACEHOLDERS.get(word, word) for word in words])
    except (click.exceptions.Exit, click.MissingParameter):
        return  # `--help` does what it says while it is read; a verb may be spoken of without what it needs
    except click.ClickException as error:
        pytest.fail(f"jobsup {' '.join(words)}: {error.format_message()}")


def test_enough_of_them_were_found_and_each_verb_is_spoken_of() -> None:
    assert len(arguments()) > 40
    spoken = {words[0] for words in arguments() if words and not words[0].startswith("-")}
    assert set(VERBS) - spoken <= THE_PORTALS


def test_a_wrong_word_would_have_been_found() -> None:
    for words in (["statsu"], ["run", "job", "--wiat"], ["db", "upgarde"], ["pause", "job", "--untill", "noon"]):
        with pytest.raises(click.UsageError):
            parse(cli, words)


def test_the_table_of_exit_codes_is_that_of_the_code() -> None:
    rows = table(section("Commands").partition("Exit codes:")[2])
    told = {int(row[0]) for row in rows if row[0].isdecimal()}
    assert told == {code for code in ExitCode if code < ExitCode.TIMEOUT}
    waiting = rows[-1][1]
    assert f"{ExitCode.TIMEOUT} when it ran out of time" in waiting
    assert f"{ExitCode.CANCELLED} when it was cancelled" in waiting
    assert f"{ExitCode.CONFLICT} when it was skipped" in waiting


def test_the_statuses_and_reasons_are_those_there_are() -> None:
    rows = table(section("What becomes of a run"))
    assert {row[0] for row in rows} == set(Status)
    assert {span for row in rows for span in spans(row[1])} == set(Reason) - {Reason.NONE}


def test_the_variables_exist() -> None:
    known = {variable for key in SETTING_KEYS for variable in key.variables}
    known |= OTHER_VARIABLES | {f"JOBSUP_{name}" for name in RUN_VARIABLES}
    for span in spans(README):
        for name in re.findall(r"\bJOBSUP_[A-Z_]+", span):
            assert name in known or f"{name}<" in span, name
    aliases = {alias for key in SETTING_KEYS for alias in key.aliases}
    told = {span for span in spans(section("Configuration")) if re.fullmatch(r"[A-Z]+(_[A-Z]+)+", span)}
    assert told == aliases


def test_the_keys_exist() -> None:
    example = (ROOT / "jobsup.toml.example").read_text(encoding="utf-8")
    for name in re.findall(r"`([a-z_]+) = ", README):
        assert re.search(rf"^#?{name} = |[{{ ]{name} = ", example, re.MULTILINE), name
    for head, name in re.findall(r"`\[([a-z]+)\] ([a-z_]+)", README):
        assert f"{head}.{name}" in {key.path for key in SETTING_KEYS} or name in example


@pytest.mark.parametrize("block", fences("toml"))
def test_each_configuration_it_shows_is_one(tmp_path: Path, block: str) -> None:
    for job in tomllib.loads(block).get("job", ()):
        if "script" in job:
            script = tmp_path / job["script"]
            script.parent.mkdir(exist_ok=True)
            script.write_text("#!/bin/sh\n")
            script.chmod(0o755)
    file = tmp_path / "jobsup.toml"
    file.write_text(block)
    file.chmod(0o644)
    assert load(str(file), {}, FixedClock()).path == str(file)


def test_the_test_command_is_what_the_automation_runs() -> None:
    automation = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    pattern = re.search(r"grep -m 1 -E '([^']+)' README\.md", automation)
    assert pattern is not None
    found = subprocess.run(
        ["grep", "-E", pattern[1], "README.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(found) == 1
    run, test = (block.strip() for block in fences("sh")[:2])
    assert found == [test]
    assert run.startswith("python3 -m venv .venv && ")
    assert run.endswith("jobsup start -c jobsup.toml.example")


def test_its_pictures_are_those_that_the_tests_make_and_small() -> None:
    shown = set(re.findall(r"docs/portal/([a-z-]+\.png)", README))
    assert shown == {picture(name, size) for name, size, _ in PICTURES}
    for name in shown:
        data = (PICTURES_FOLDER / name).read_bytes()
        assert data.startswith(b"\x89PNG\r\n")
        assert len(data) < PICTURE_BYTES_MAX, name
