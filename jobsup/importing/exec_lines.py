"""The command lines of systemd's services: words, quotes, prefixes, specifiers, and the same for a shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

PREFIXES = "-@:+!|"

_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " "}
_CODE = re.compile(r"x([0-9A-Fa-f]{2})|([0-7]{3})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})")
_VARIABLE = re.compile(r"\$\$|\$\{([A-Za-z_]\w*)\}", re.ASCII)
_WHOLE_VARIABLE = re.compile(r"\$([A-Za-z_]\w*)", re.ASCII)
_SPECIFIER = re.compile(r"%(.?)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ExecLine:
    """One command: the prefixes before its program, and its words."""

    prefixes: str
    words: tuple[str, ...]

    @property
    def uses_variables(self) -> bool:
        return ":" not in self.prefixes and any(
            match[0] != "$$" for word in self.words for match in _VARIABLE.finditer(word)
        ) | any(bool(_WHOLE_VARIABLE.fullmatch(word)) for word in self.words)

    @property
    def may_fail(self) -> bool:
        return "-" in self.prefixes

    def argv(self) -> list[str]:
        """Return the words as they are, for a command that uses no variables."""
        if ":" in self.prefixes:
            return list(self.words)
        return [_VARIABLE.sub(lambda match: "$" if match[0] == "$$" else match[0], word) for word in self.words]

    def shell(self) -> str:
        """Return the command for a shell, its variables with the meaning they have here."""
        if ":" in self.prefixes:
            return shlex.join(self.words)
        return " ".join(_for_shell(word) for word in self.words)


def exec_lines(value: str) -> list[ExecLine]:
    """Read one `ExecStart=` value; a lone `;` parts several commands. ValueError says what is off."""
    commands: list[ExecLine] = []
    current: list[str] = []
    for word, is_plain in [*_words(value), (";", True)]:
        if word != ";" or not is_plain:
            current.append(word)
        elif current:
            commands.append(_command(current))
            current = []
    return commands


def words(value: str) -> list[str]:
    """Read words as `Environment=` holds them. ValueError when a quote is left open."""
    return [word for word, _ in _words(value)]


def specified(text: str, known: dict[str, str]) -> tuple[str, list[str]]:
    """Put the known specifiers (`%n`) in; return the text and the specifiers that are not known."""
    unknown: list[str] = []

    def put(match: re.Match[str]) -> str:
        if match[1] == "%":
            return "%"
        if match[1] in known:
            return known[match[1]]
        unknown.append(match[0])
        return match[0]

    return _SPECIFIER.sub(put, text), unknown


def joined(commands: Sequence[ExecLine]) -> str:
    """Return a shell line that does one command after the other, and stops where systemd would."""
    return " && ".join(
        f"{{ {command.shell()} || :; }}" if command.may_fail else command.shell() for command in commands
    )


def _command(parts: list[str]) -> ExecLine:
    program = parts[0].lstrip(PREFIXES)
    prefixes = parts[0][: len(parts[0]) - len(program)]
    rest = parts[1:]
    if "@" in prefixes:
        rest = rest[1:]  # the name the program is to see of itself
    if not program:
        raise ValueError("a command has no program")
    return ExecLine(prefixes, (program, *rest))


def _words(value: str) -> Iterator[tuple[str, bool]]:
    """Yield each word, and whether it was written without quotes and escapes."""
    word: list[str] = []
    quote = ""
    begun, is_plain = False, True
    position = 0
    while position < len(value):
        char = value[position]
        position += 1
        if char == "\\" and position < len(value) and quote != "'":
            text, position = _escaped(value, position)
            word.append(text)
            begun, is_plain = True, False
        elif quote:
            if char == quote:
                quote = ""
            else:
                word.append(char)
        elif char in "'\"":
            quote, begun, is_plain = char, True, False
        elif char in " \t":
            if begun:
                yield "".join(word), is_plain
            word, begun, is_plain = [], False, True
        else:
            word.append(char)
            begun = True
    if quote:
        raise ValueError(f"a quote {quote} is left open")
    if begun:
        yield "".join(word), is_plain


def _escaped(value: str, position: int) -> tuple[str, int]:
    """Read what follows a backslash; an escape that is none stays as it is written."""
    code = _CODE.match(value, position)
    if code:
        digits = next(group for group in code.groups() if group)
        number = int(digits, 8 if code[2] else 16)
        text = chr(number) if 0 < number < 0x110000 and not 0xD800 <= number < 0xE000 else "\ufffd"
        return text, code.end()
    char = value[position]
    return _ESCAPES.get(char, char if char in "\\\"';" else "\\" + char), position + 1


def _for_shell(word: str) -> str:
    if match := _WHOLE_VARIABLE.fullmatch(word):
        return f"${match[1]}"  # a variable that is a word by itself is parted at its blanks, in a shell too
    parts: list[str] = []
    end = 0
    for match in _VARIABLE.finditer(word):
        literal = word[end : match.start()] + ("$" if match[0] == "$$" else "")
        parts += [shlex.quote(literal)] if literal else []
        parts += [f'"${{{match[1]}}}"'] if match[1] else []
        end = match.end()
    parts += [shlex.quote(word[end:])] if word[end:] or not parts else []
    return "".join(parts)
