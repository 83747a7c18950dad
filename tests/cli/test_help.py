"""Every verb helps, is found, and loads only what it needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from jobsup.cli.main import VERBS, cli
from jobsup.errors import ExitCode
from tests.support.command import JOBSUP, forked, jobsup

WANTED = {
    *("start", "stop", "restart", "reload", "status", "check", "init", "config", "list", "show", "next", "why"),
    *("explain", "run", "runs", "logs", "cancel", "retry", "pause", "resume", "workers", "scale", "db", "systemd"),
    *("scheduler", "worker", "completion", "version"),
}


def test_every_verb_is_there() -> None:
    assert set(VERBS) >= WANTED


@pytest.mark.parametrize("name", VERBS)
def test_help_begins_with_two_examples_of_the_verb_and_names_the_config_option(name: str) -> None:
    root = click.Context(cli, info_name="jobsup")
    command = cli.get_command(root, name)
    assert command is not None
    _check_help(command, name, root)


def _check_help(command: click.Command, name: str, parent: click.Context) -> None:
    ctx = click.Context(command, info_name=name, parent=parent)
    head, _, rest = command.get_help(ctx).partition("\n\n")
    lines = head.splitlines()
    assert lines[0] == "Examples:"
    assert len([line for line in lines[1:] if line[:2] == "  " and line[2] != " "]) == 2
    assert ctx.command_path in head
    assert command.help
    assert rest.startswith(f"Usage: {ctx.command_path} ")
    assert "-c, --config FILE" in rest
    for inner_name, inner in getattr(command, "commands", {}).items():
        _check_help(inner, inner_name, ctx)


def test_the_top_help_says_each_verb_in_one_line() -> None:
    text = jobsup("--help", env={"COLUMNS": "120"}).stdout
    for name, entry in VERBS.items():
        assert any(line.split()[:1] == [name] and line.endswith(entry.summary) for line in text.splitlines()), name


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["version"], ["explain", "0 3 * * *"]])
def test_light_verbs_load_neither_the_database_nor_the_validator(arguments: list[str]) -> None:
    code = (
        "import sys; from jobsup.cli.main import run; code = run(sys.argv[1:]);"
        "heavy = {'sqlalchemy', 'pydantic', 'alembic', 'apscheduler'} & set(sys.modules);"
        "print(heavy, file=sys.stderr);"
        "sys.exit(code or len(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "set()\n")
    assert done.stdout


def test_status_does_not_load_the_validator(tmp_path: Path) -> None:
    (tmp_path / "jobsup.toml").write_text("")
    code = (
        "import sys; from jobsup.cli.main import run; code = run(['status']);"
        "sys.exit('pydantic' if 'pydantic' in sys.modules else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30, cwd=tmp_path
    )
    assert done.returncode == ExitCode.UNREACHABLE, done.stderr


def test_python_dash_m_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jobsup", "version"], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.stdout == jobsup("version").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stat"], "no such command: 'stat'; did you mean"),
        (["runs", "--lats", "3"], "--last"),
        (["runs", "--last", "0"], "0 is not in the range"),
        (["runs", "--since", "soon"], "is no time"),
        (["scale", "many"], "write workers=N"),
        (["pause", "a", "--for", "10"], "has no unit"),
    ],
)
def test_wrong_words_are_one_line_and_exit_2(arguments: list[str], words: str, tmp_path: Path) -> None:
    (tmp_path / "jobsup.toml").write_text("")
    done = forked(*arguments, cwd=tmp_path)
    assert done.returncode == ExitCode.USAGE
    assert done.stdout == ""
    assert done.stderr.startswith("jobsup: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def test_no_words_at_all_show_the_help() -> None:
    done = jobsup()
    assert done.returncode == 0
    assert done.stdout.startswith("Examples:")


def test_the_config_option_may_stand_before_or_after_the_verb(tmp_path: Path) -> None:
    file = tmp_path / "here.toml"
    file.write_text("")
    before = jobsup("-c", str(file), "config", "path")
    after = jobsup("config", "path", "-c", str(file))
    assert before.stdout == after.stdout == f"{file}\n"


def test_a_reader_that_leaves_early_hears_no_complaint(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "jobsup", "--help"], stdout=write, stderr=subprocess.PIPE, check=False, timeout=30
        )
    finally:
        os.close(write)
    assert done.stderr == b""
    assert done.returncode == 141


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")  # noqa: PTH110
def test_a_full_disk_under_the_output_is_one_line() -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "jobsup", "--help"], stdout=full, stderr=subprocess.PIPE, check=False, timeout=30
        )
    assert done.returncode == 1
    assert done.stderr == b"jobsup: No space left on device\n"


def test_closed_streams_are_no_fault() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f"{JOBSUP} version >&- <&-; {JOBSUP} nonsense 2>&-"],
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert (done.stdout, done.stderr, done.returncode) == (b"", b"", ExitCode.USAGE)


def test_bytes_that_are_no_text_are_refused_or_printed_escaped(tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xff.toml")
    done = jobsup("config", "path", "-c", odd, cwd=tmp_path)
    assert done.returncode == 7
    assert "\\udcff.toml does not exist" in done.stderr
    (tmp_path / odd).touch()
    assert jobsup("config", "path", "-c", odd, cwd=tmp_path).stdout == f"{tmp_path}/\\udcff.toml\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_the_command(shell: str) -> None:
    done = jobsup("completion", shell)
    assert done.returncode == 0
    assert "_JOBSUP_COMPLETE" in done.stdout


def test_a_shell_completes_verbs() -> None:
    done = jobsup(env={"_JOBSUP_COMPLETE": "bash_complete", "COMP_WORDS": "jobsup sta", "COMP_CWORD": "1"})
    assert done.stdout.split() == ["plain,start", "plain,status"]
