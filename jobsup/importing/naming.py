"""Names for jobs that had none: made from what they run, valid, and each given once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from jobsup.config.names import NAME_CHARS_MAX

MADE_CHARS_MAX = 40
"""A made-up name is cut to this, to leave room for what tells twins apart."""
FALLBACK = "job"

_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=\S*", re.ASCII)
_WORD = re.compile(r"[A-Za-z][\w-]*", re.ASCII)
_BAD_CHARS = re.compile(r"[^A-Za-z0-9_.-]+")
_GUARDS = frozenset(
    [
        "test",
        "[",
        "[[",
        "command",
        "cd",
        "umask",
        ".",
        "source",
        "export",
        "sleep",
        "true",
        ":",
        "set",
        "if",
        "fi",
        "done",
        "esac",
    ]
)
_QUOTED = re.compile(r"'[^']*'|\"(?:[^\"\\]|\\.)*\"")
_PARTS = re.compile(r"&&|\|\||;|\||\n|[{}()]")
_OWN_WORD = {"timeout": re.compile(r"\d"), "flock": re.compile(r"[/\d]")}
"""Wrappers that take one plain word before the program they run, and how it begins."""
_WRAPPERS = frozenset(
    [
        "nice",
        "ionice",
        "chronic",
        "nohup",
        "env",
        "exec",
        "time",
        "sudo",
        "flock",
        "timeout",
        "setsid",
        "systemd-cat",
        "then",
        "do",
        "else",
        "bash",
        "sh",
        "dash",
        "zsh",
        "python",
        "python3",
        "perl",
        "php",
        "ruby",
        "node",
    ]
)
"""Programs, and words of the shell, that run the one that matters."""
_TAKE_A_WORD = ("-u", "-n", "-c", "-t", "-w", "-E", "-g", "-k", "-s")
_ENDINGS = (".sh", ".bash", ".py", ".pl", ".rb", ".php", ".js", ".bin", ".exe")


class Names:
    """Gives names out; each but once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def give(self, wish: str) -> str:
        """Return the wish as a valid name that nobody has yet, with a number when it is taken."""
        base = valid(wish)
        name, number = base, 1
        while name in self._taken:
            number += 1
            end = f"-{number}"
            name = base[: NAME_CHARS_MAX - len(end)] + end
        self._taken.add(name)
        return name


def valid(wish: str) -> str:
    """Return the nearest text that may be a job's name."""
    text = _BAD_CHARS.sub("-", wish).strip("-.")[:NAME_CHARS_MAX].strip("-.")
    return text or FALLBACK


def from_command(command: str) -> str:
    """Return a readable name for a shell line: the program that matters in it, and what it is told to do."""
    unquoted = _QUOTED.sub(lambda match: match[0][1:-1] if match[0][1:-1].isalnum() else "", command)
    parts = [words for part in _PARTS.split(unquoted) if part.strip() and (words := _unwrapped(part.split()))]
    telling = [words for words in parts if words and words[0] not in _GUARDS and _stem(words[0]) not in _WRAPPERS]
    if not parts:
        return FALLBACK
    words = (telling or parts)[0]
    program = _stem(words[0])
    verbs = [word for word in words[1:4] if _WORD.fullmatch(word)][:1] if "/" not in words[0] or len(words) < 4 else []
    return valid("-".join([program, *verbs]))[:MADE_CHARS_MAX].strip("-.") or FALLBACK


def _unwrapped(words: list[str]) -> list[str]:
    """Drop assignments, and the programs that only run another one."""
    rest = [word.strip("'\"") for word in words]
    while rest:
        if _ASSIGNMENT.fullmatch(rest[0]):
            rest = rest[1:]
            continue
        program = PurePosixPath(rest[0]).name
        inner = _inner(rest[1:], _OWN_WORD.get(program)) if program in _WRAPPERS else None
        if not inner:
            return rest
        rest = inner
    return rest


def _inner(words: list[str], own_word: re.Pattern[str] | None) -> list[str]:
    """Return what a wrapper runs: its words without its options and its own argument."""
    rest = list(words)
    while rest and rest[0].startswith("-"):
        takes_one = rest[0] in _TAKE_A_WORD and len(rest) > 1 and not rest[1].startswith(("-", "/"))
        rest = rest[2 if takes_one else 1 :]
    if own_word and len(rest) > 1 and own_word.match(rest[0]):
        rest = rest[1:]
    return [word for word in rest if word]


def _stem(program: str) -> str:
    name = PurePosixPath(program).name
    return next((name.removesuffix(ending) for ending in _ENDINGS if name.endswith(ending)), name)
