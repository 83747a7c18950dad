"""The locator finds the line of everything that valid TOML can hold."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from jobsup.config.locate import Lines

TEXT = '''\
# [not.a.table]
top = 1
[x]   # [y]
b.c = "q # no \\" comment" # yes
"quo ted" = [1,
  { k = 3, "y.z" = [ {} ] },   # ] }
]
[[job]]
name = """
[[job]] name = "no" "" \\"""
"""
literal = \'\'\'
[job.params]
it's\'\'\'
[ job . params ]
 n = { type = "string", default = "}" }
[[job]]
at = 2027-01-31 03:00:00
[job.params.x]
q = 'a]'
[[job.sub]]
z = 1
[[job.sub]]
z = [[1, 2],
     [3]]
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("x",), 3),
        (("x", "b"), 4),
        (("x", "b", "c"), 4),
        (("x", "quo ted"), 5),
        (("x", "quo ted", 0), 5),
        (("x", "quo ted", 1, "k"), 6),
        (("x", "quo ted", 1, "y.z", 0), 6),
        (("job", 0), 8),
        (("job", 0, "name"), 9),
        (("job", 0, "literal"), 12),
        (("job", 0, "params"), 15),
        (("job", 0, "params", "n", "default"), 16),
        (("job", 1), 17),
        (("job", 1, "at"), 18),
        (("job", 1, "params", "x", "q"), 20),
        (("job", 1, "sub", 0, "z"), 22),
        (("job", 1, "sub", 1, "z", 1), 25),
    ],
)
def test_a_key_is_found_on_its_line(path: tuple[str | int, ...], line: int) -> None:
    tomllib.loads(TEXT)
    assert Lines(TEXT).line(path) == line


def test_what_is_not_there_has_the_line_of_the_table_around_it() -> None:
    assert Lines(TEXT).line(("job", 1, "gone", "deeper")) == 17
    assert Lines(TEXT).line(("gone",)) is None


def test_lines_end_as_the_file_ends_them() -> None:
    assert Lines("a = 1\r\n\r\n[b]\r\nc = [\r\n1,\r\n2]\r\n").line(("b", "c", 1)) == 6


keys = st.text(alphabet="ab.\"'é #]=\\\n", min_size=1, max_size=4)
scalars = (
    st.integers(-9, 9) | st.booleans() | st.text(alphabet="x#]}\"'\\\n, ", max_size=6) | st.floats(allow_nan=False)
)
documents = st.dictionaries(
    keys,
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@settings(max_examples=150, deadline=None)
@given(documents, st.booleans())
def test_every_key_of_any_document_is_found(document: dict[str, Any], is_multiline: bool) -> None:
    text = tomli_w.dumps(document, multiline_strings=is_multiline)
    lines = Lines(text)
    written = text.split("\n")
    for path in _paths(document):
        assert path in lines._lines
        line = lines.line(path)
        assert line is not None
        assert 1 <= line <= len(written)


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(value, dict):
        return [found for key, each in value.items() for found in [(*path, key), *_paths(each, (*path, key))]]
    if isinstance(value, list):
        return [found for index, each in enumerate(value) for found in _paths(each, (*path, index))]
    return []
