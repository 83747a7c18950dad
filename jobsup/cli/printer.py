"""A run's bytes on their way to a terminal, a pipe or a file: made harmless, or exactly as they were."""

from __future__ import annotations

import codecs
import sys

import click

from jobsup.actions.output import Piece
from jobsup.cli.text import PARTIAL_ESCAPE, clean_lines, colour, plural, say
from jobsup.model import STDERR, STDOUT


class Printer:
    """Prints pieces of output; `is_raw` hands the bytes on unchanged."""

    def __init__(self, *, is_raw: bool) -> None:
        self._is_raw = is_raw
        self._streams = {STDOUT: _Text(), STDERR: _Text()}
        self.is_at_line_start = True
        self.has_printed = False

    def write(self, piece: Piece) -> None:
        """Print a piece, after a line about the bytes that are missing before it."""
        self.has_printed = True
        if piece.dropped_before:
            self._tell_gap(piece.dropped_before)
        if self._is_raw:
            sys.stdout.buffer.write(piece.data)
            sys.stdout.buffer.flush()
        else:
            self._print(self._streams[piece.stream].add(piece.data), piece.stream)

    def finish(self) -> None:
        """Print what was held back for the rest of a character or a sequence, and end the last line."""
        if not self._is_raw:
            for stream, text in self._streams.items():
                self._print(text.finish(), stream)
            if not self.is_at_line_start and sys.stdout.isatty():
                click.echo()

    def _print(self, text: str, stream: int) -> None:
        if not text:
            return
        self.is_at_line_start = text.endswith("\n")
        click.echo(colour(text, fg="red") if stream == STDERR else text, nl=False)
        sys.stdout.flush()

    def _tell_gap(self, dropped: int) -> None:
        line = f"[... {plural(dropped, 'byte')} dropped ...]"
        if self._is_raw:
            say(line)
        else:
            self._print(f"{'' if self.is_at_line_start else chr(10)}{line}\n", STDOUT)


class _Text:
    """One stream's bytes as clean text, whatever way they are cut into pieces."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def add(self, data: bytes) -> str:
        text = self._held + self._decoder.decode(data)
        partial = PARTIAL_ESCAPE.search(text)
        cut = partial.start() if partial else len(text)
        self._held = text[cut:]
        return clean_lines(text[:cut])

    def finish(self) -> str:
        text, self._held = self._held + self._decoder.decode(b"", final=True), ""
        return clean_lines(text)
