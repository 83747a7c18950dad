"""How a script is started: as it is, by the interpreter its first line names, or by its extension."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

SHEBANG_BYTES_MAX = 255

INTERPRETERS: dict[str, tuple[str, ...]] = {
    ".sh": ("sh",),
    ".bash": ("bash",),
    ".zsh": ("zsh",),
    ".fish": ("fish",),
    ".py": ("python3",),
    ".pl": ("perl",),
    ".rb": ("ruby",),
    ".js": ("node",),
    ".php": ("php",),
    ".lua": ("lua",),
    ".r": ("Rscript",),
}


def script_argv(script: str) -> tuple[str, ...] | None:
    """Return the words that start the script, itself the last of them; None when nothing tells how.

    An executable file with a first line `#!...`, or in a binary format, starts by itself. A file that is
    not executable is handed to the interpreter of its first line, or of its extension. Raises OSError.
    """
    path = Path(script)
    with path.open("rb") as opened:
        head = opened.read(SHEBANG_BYTES_MAX)
    has_shebang = head.startswith(b"#!")
    by_extension = INTERPRETERS.get(path.suffix.lower())
    if os.access(path, os.X_OK) and (has_shebang or by_extension is None):
        return (script,)
    if has_shebang:
        words = shlex.split(head[2:].partition(b"\n")[0].decode(errors="replace"))
        if words:
            return (*words, script)
    return (*by_extension, script) if by_extension else None
