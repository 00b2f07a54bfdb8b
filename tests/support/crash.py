"""Death at a chosen system call: work in a child process, traced, that is killed before or after its n-th change.

A change is a system call that writes to, syncs, renames, removes, makes or cuts something inside one folder: what a
power cut or `kill -9` can come between. The tracer sees them all, whichever language makes them.
"""

import ctypes
import os
import signal
from collections.abc import Callable
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long
TRACEME, SYSCALL, SETOPTIONS, GET_SYSCALL_INFO = 0, 24, 0x4200, 0x420E
GOOD_SYSCALLS_AND_EXITKILL = 1 | 1 << 20
ENTRY, EXIT = 1, 2

# x86-64. Those that name a file by descriptor, and by the place of a path among their arguments.
BY_DESCRIPTOR = {
    1: "write",
    18: "pwrite64",
    20: "writev",
    40: "sendfile",
    74: "fsync",
    75: "fdatasync",
    77: "ftruncate",
    285: "fallocate",
    296: "pwritev",
    326: "copy_file_range",
}
BY_PATH = {
    82: ("rename", 1),
    83: ("mkdir", 0),
    84: ("rmdir", 0),
    86: ("link", 1),
    87: ("unlink", 0),
    90: ("chmod", 0),
    257: ("open", 1),
    258: ("mkdir", 1),
    263: ("unlink", 1),
    264: ("rename", 3),
    268: ("chmod", 1),
    316: ("rename", 3),
}
CREATE = 0o100


class Info(ctypes.Structure):
    """The kernel's ptrace_syscall_info, as far as the arguments of an entry."""

    _fields_ = (
        ("op", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 3),
        ("arch", ctypes.c_uint32),
        ("ip", ctypes.c_uint64),
        ("sp", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
        ("more", ctypes.c_uint64),
    )


def traced(work: Callable[[], object], folder: Path, *, at: int = -1, after: bool = False) -> list[str]:
    """Run `work` in a child, killed before (or after) change `at` in the folder; return the changes it came to.

    Numbered from 0. With `at` beyond the last, or -1, the work is done to its end.
    """
    child = os.fork()
    if child == 0:
        try:
            libc.ptrace(TRACEME, 0, None, None)
            os.kill(os.getpid(), signal.SIGSTOP)
            work()
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
        os._exit(1)
    os.waitpid(child, 0)
    libc.ptrace(SETOPTIONS, child, None, GOOD_SYSCALLS_AND_EXITKILL)
    seen: list[str] = []
    passing, forward = False, 0
    while True:
        if libc.ptrace(SYSCALL, child, None, forward) != 0:
            raise OSError(ctypes.get_errno(), "the child cannot be traced")
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, "the work itself failed"
            return seen
        forward = 0
        if os.WSTOPSIG(status) != signal.SIGTRAP | 0x80:
            forward = os.WSTOPSIG(status)
            continue
        info = Info()
        libc.ptrace(GET_SYSCALL_INFO, child, ctypes.sizeof(info), ctypes.addressof(info))
        if info.op == ENTRY:
            name = _change(child, info, os.fspath(folder))
            passing = name is not None
            if passing:
                seen.append(name)
                if len(seen) - 1 == at and not after:
                    return _kill(child, seen)
        elif info.op == EXIT and passing:
            passing = False
            if len(seen) - 1 == at:
                return _kill(child, seen)


def _kill(child: int, seen: list[str]) -> list[str]:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return seen


def _change(child: int, info: Info, folder: str) -> str | None:
    if info.number in BY_DESCRIPTOR:
        try:
            path = os.readlink(f"/proc/{child}/fd/{info.arguments[0]}")
        except OSError:
            return None
        return BY_DESCRIPTOR[info.number] if path.startswith(folder) else None
    if info.number in BY_PATH:
        name, place = BY_PATH[info.number]
        if name == "open" and not info.arguments[2] & CREATE:
            return None
        return name if _text(child, info.arguments[place]).startswith(folder) else None
    return None


def _text(child: int, address: int) -> str:
    with open(f"/proc/{child}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(4096).split(b"\0")[0].decode(errors="replace")
