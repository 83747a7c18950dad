"""Modules that are put off: loaded by whoever uses them, not by whoever imports them."""

from __future__ import annotations

import subprocess
import sys

PUT_OFF = """
import sys
from jobsup.runtime import lazy
lazy.put_off("xml.dom.minidom", "sys")
import xml.dom.minidom
assert "xml.dom.xmlbuilder" not in sys.modules, "its own imports have been made"
xml.dom.minidom.Document()
assert "xml.dom.xmlbuilder" in sys.modules
"""


def test_a_module_that_is_put_off_is_loaded_when_it_is_used() -> None:
    done = subprocess.run([sys.executable, "-c", PUT_OFF], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
