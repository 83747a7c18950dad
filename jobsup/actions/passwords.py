"""Passwords: made slow to try by scrypt, and compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import os

from jobsup.errors import UsageError

N, R, P = 1 << 15, 8, 1
"""32 MiB and about a tenth of a second for each try."""
MEMORY_BYTES_MAX = 128 << 20
SALT_BYTES = 16
KEY_BYTES = 32
CHARS_MIN = 10
CHARS_MAX = 1024
_COMMON = ("password", "passw0rd", "1234567890", "qwertyuiop", "jobsup")


def make_hash(password: str) -> str:
    """Return what is kept of a password; UsageError for one that is too easy."""
    check(password)
    salt = os.urandom(SALT_BYTES)
    return f"scrypt${N}${R}${P}${salt.hex()}${_key(password, salt, N, R, P).hex()}"


def check(password: str) -> None:
    """Refuse a password that is guessed first."""
    if len(password) < CHARS_MIN:
        raise UsageError(f"a password has at least {CHARS_MIN} characters: a few words with blanks between are fine")
    if len(password) > CHARS_MAX:
        raise UsageError(f"a password has at most {CHARS_MAX} characters")
    plain = password.lower()
    if len(set(plain)) < 4 or any(plain.replace(word, "").strip("0123456789!") == "" for word in _COMMON):
        raise UsageError("that password is among the first that anybody tries: take another one")


def matches(password: str, kept: str | None) -> bool:
    """Say whether a password is the one of a hash; with none it takes as long, so that nobody learns who is a user."""
    if len(password) > CHARS_MAX:
        return False
    kind, *parts = (kept or _NOBODY).split("$")
    if kind != "scrypt" or len(parts) != 5:
        return False
    n, r, p, salt, key = parts
    found = _key(password, bytes.fromhex(salt), int(n), int(r), int(p))
    return hmac.compare_digest(found, bytes.fromhex(key)) and kept is not None


def _key(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(
        password.encode(errors="surrogatepass"), salt=salt, n=n, r=r, p=p, maxmem=MEMORY_BYTES_MAX, dklen=KEY_BYTES
    )


_NOBODY = f"scrypt${N}${R}${P}${'0' * 2 * SALT_BYTES}${'0' * 2 * KEY_BYTES}"
