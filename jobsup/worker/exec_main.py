"""The exec wrapper: turns itself into a job with the user, the limits and the ranks that the job asks for.

It is run in an interpreter without site packages and imports next to nothing: each job that needs it waits for it.
What it is to become it reads from a memory file, never from its own environment: the job's may name libraries that
must not be loaded while it still has the worker's rights. What it cannot do it writes to a pipe that closes by itself
when the job begins.
"""

from __future__ import annotations

import ctypes
import marshal
import os
import resource

TYPE_CHECKING = False  # as checkers read it; importing `typing` would take as long as all the rest
if TYPE_CHECKING:
    from typing import Any

NOT_FOUND = 127
SECRET_BYTES_MAX = 16 << 10
"""All that is said on the pipe before the job begins has to fit into it: nobody may be reading yet."""
NOT_STARTED = 126
"""The exit code of a wrapper that did not become the job; the pipe says why."""

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_IOPRIO_WHO_PROCESS = 1
_SYS_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282, "armv7l": 314}
_SIGKILL = 9
_IGNORED_BY_PYTHON = (13, 25)
"""SIGPIPE and SIGXFSZ: an exec would hand the interpreter's own choice on to the job."""


class RefusedError(Exception):
    """The kernel did something else than it said."""


def main(arguments: list[str]) -> int:
    """Become the job; arguments: the memory file's descriptor, the pipe's, the worker's pid."""
    order_fd, complaint_fd, worker = map(int, arguments)
    os.set_inheritable(complaint_fd, False)
    step = "it"
    try:
        with os.fdopen(order_fd, "rb") as file:
            order: dict[str, Any] = marshal.loads(file.read())  # noqa: S302  (its worker's own, by descriptor)
        for name, words in order["secret_commands"]:
            step = f'secret "{name}"'
            order["environment"][name] = value = _output_of(words, order["helper_environment"])
            _say(complaint_fd, "secret", value)
        for name, do in _STEPS:
            step = name
            do(order)
        step = "its parent"
        _die_with(worker)
        step = "its folder"
        os.chdir(order["cwd"])
        step = "memory_max"
        _limit(order["memory_limits"])  # the last thing: we have to live with it ourselves
        step = "program"
        os.execvpe(order["argv"][0], order["argv"], order["environment"])
    except OSError as error:
        _complain(complaint_fd, step, error.errno or 0, str(error.strerror))
    except RefusedError as error:
        _complain(complaint_fd, step, 0, str(error))
    except BaseException as error:  # noqa: BLE001  (whatever it is, the worker must hear of it)
        _complain(complaint_fd, step, 0, f"{type(error).__name__}: {error}")
    return NOT_STARTED


def _enter_group(order: dict[str, Any]) -> None:
    if order["cgroup"]:
        _write(order["cgroup"], b"0")


def _rank(order: dict[str, Any]) -> None:
    if order["nice"] is not None:
        os.setpriority(os.PRIO_PROCESS, 0, order["nice"])


def _rank_io(order: dict[str, Any]) -> None:
    if order["ioprio"] is None:
        return
    number = _SYS_IOPRIO_SET.get(os.uname().machine)
    if number is None:
        raise RefusedError(f"not known how on {os.uname().machine}")
    if _libc().syscall(number, _IOPRIO_WHO_PROCESS, 0, order["ioprio"]) != 0:
        raise _last_error()


def _rank_for_oom(order: dict[str, Any]) -> None:
    if order["oom_score_adjust"] is not None:
        _write("/proc/self/oom_score_adj", b"%d" % order["oom_score_adjust"])


def _set_limits(order: dict[str, Any]) -> None:
    _limit(order["limits"])


def _limit(limits: list[tuple[int, int]]) -> None:
    for which, most in limits:
        _, hard = resource.getrlimit(which)
        lowest = most if hard == resource.RLIM_INFINITY or os.geteuid() == 0 else min(most, hard)
        resource.setrlimit(which, (lowest, lowest))


def _set_umask(order: dict[str, Any]) -> None:
    if order["umask"] is not None:
        os.umask(order["umask"])


def _become(order: dict[str, Any]) -> None:
    """Take on the account, each id looked at afterwards: a job that kept root's would be told from nothing else."""
    if order["account"] is None:
        return
    uid, gid, groups = order["account"]
    if os.geteuid() == 0:
        os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid,) * 3 or os.getresgid() != (gid,) * 3:
        raise RefusedError(f"ids are {os.getresuid()} and {os.getresgid()}, not {uid} and {gid}")
    if set(os.getgroups()) - {gid} != set(groups) - {gid}:
        raise RefusedError(f"groups are {sorted(os.getgroups())}, not {sorted(groups)}")
    if uid != 0:
        _check_no_way_back()


def _check_no_way_back() -> None:
    try:
        os.setresuid(-1, 0, -1)
    except PermissionError:
        return
    raise RefusedError("root's rights could be taken back")


def _give_up_privileges(order: dict[str, Any]) -> None:
    if order["is_hardened"]:
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _restore_signals(_order: dict[str, Any]) -> None:
    for signum in _IGNORED_BY_PYTHON:
        _signal(signum)


def _die_with(worker: int) -> None:
    # After the change of user, which would undo it; the worker may have gone before.
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != worker:
        raise RefusedError("its worker is gone")


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def _prctl(option: int, value: int) -> None:
    if _libc().prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise _last_error()


def _signal(signum: int) -> None:
    # By the C library: the module `signal` takes as long to import as all the rest.
    _libc().signal(signum, None)


def _libc() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.signal.restype = ctypes.c_void_p
    library.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    return library


def _last_error() -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code))


def _output_of(words: list[str], environment: dict[str, str]) -> str:
    """Run a command and return what it prints, without the line's end; its own errors go to the run's output."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _become_helper(words, environment, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        data = file.read(SECRET_BYTES_MAX + 1)
    _, status = os.waitpid(child, 0)
    if len(data) > SECRET_BYTES_MAX:
        raise RefusedError(f"its command printed more than {SECRET_BYTES_MAX} bytes")
    if status:
        code = os.waitstatus_to_exitcode(status)
        raise RefusedError(f"its command ended with exit code {code}" if code >= 0 else f"its command: signal {-code}")
    if b"\0" in data:
        raise RefusedError("its command printed a NUL character, which no variable can hold")
    return os.fsdecode(data.rstrip(b"\n"))


def _become_helper(words: list[str], environment: dict[str, str], stdout: int) -> None:
    try:
        os.dup2(stdout, 1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        _restore_signals({})
        os.execvpe(words[0], words, environment)
    except OSError as error:
        os.write(2, os.fsencode(f"{words[0]}: {error.strerror}\n"))
    finally:
        os._exit(NOT_FOUND)


def _complain(fd: int, step: str, code: int, text: str) -> None:
    _say(fd, "complaint", (step, code, text))


def _say(fd: int, kind: str, what: Any) -> None:
    message = marshal.dumps((kind, what))
    os.write(fd, len(message).to_bytes(4) + message)


_STEPS = (
    ("its control group", _enter_group),
    ("nice", _rank),
    ("io_scheduling_class", _rank_io),
    ("oom_score_adjust", _rank_for_oom),
    ("its limits", _set_limits),
    ("umask", _set_umask),
    ("its user", _become),
    ("no_new_privs", _give_up_privileges),
    ("its signals", _restore_signals),
)
"""In this order: what needs the worker's rights comes before they are given up."""
