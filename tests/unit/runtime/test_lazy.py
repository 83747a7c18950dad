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


OPENSSL = """
import sys
from jobsup.runtime import lazy
lazy.leave_out_openssl()
import hashlib, hmac
assert not sys.modules["_hashlib"]
assert hashlib.sha256(b"x").hexdigest().startswith("2d711642") and not hasattr(hashlib, "scrypt")
lazy.let_openssl_in()
import hashlib
assert len(hashlib.scrypt(b"word", salt=b"salt", n=2, r=1, p=1)) == 64
"""


def test_openssl_is_left_out_until_somebody_needs_it() -> None:
    done = subprocess.run([sys.executable, "-c", OPENSSL], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
