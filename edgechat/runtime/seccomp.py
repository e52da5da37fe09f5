"""Linux seccomp: the kernel refuses system calls that a model never needs, whichever code makes them.

This is a deny list rather than an allow list: libraries change the calls they make with each release, and that must not
end a chat. Whole categories are refused: sockets, programs and processes, other processes' memory and signals, opening
files for writing or changing them otherwise, and the most fragile parts of the kernel. Calls newer than this list
appear not to exist.

The filter is a few dozen instructions of classic BPF, assembled here: the PyPI binding (`pyseccomp`) needs a libseccomp
that neither a packaged edgechat nor most machines have.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator

_X86_64, _GENERIC = 0, 1
_MACHINES = {
    "x86_64": (0xC000003E, 317, _X86_64),
    "aarch64": (0xC00000B7, 277, _GENERIC),
    "riscv64": (0xC00000F3, 277, _GENERIC),
}
"""By `platform.machine()`: the kernel's architecture id, the number of the seccomp call, the column in the tables."""

_NEWEST = 470
"""The highest number in these tables; new calls have had the same number on every processor since 424. x86's second
range of numbers, from 0x40000000, is above it too."""

_SOCKETS = {
    "socket": (41, 198),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
}
_PROCESSES = {
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, None),
    "vfork": (58, None),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "tkill": (200, 130),
    "setsid": (112, 157),
    "setpgid": (109, 154),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
}
_FILES = {
    "creat": (85, None),
    "truncate": (76, 45),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
    "link": (86, None),
    "linkat": (265, 37),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "mknod": (133, None),
    "mknodat": (259, 33),
    # Landlock does not cover the following.
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "lchown": (94, None),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
}
_KERNEL = {
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "fanotify_init": (300, 262),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "mount": (165, 40),
    "umount2": (166, 39),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "vhangup": (153, 58),
}
REFUSED = {**_SOCKETS, **_PROCESSES, **_FILES, **_KERNEL}
"""Refused whatever their arguments."""

_ABSENT = {"clone3": (435, 435), "openat2": (437, 437)}
"""Their arguments are in memory a filter cannot read; told that they do not exist, libraries use the older calls."""

_WRITING = os.O_WRONLY | os.O_RDWR | getattr(os, "O_CREAT", 0x40) | getattr(os, "O_TRUNC", 0x200)
_CLONE_THREAD = 0x10000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
"""They inject text into a terminal as if it had been typed."""

_PDEATHSIG, _NO_NEW_PRIVS, _SET_SECCOMP = 1, 38, 22

_LOAD, _EQUAL, _GREATER, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16


def restrict() -> None:
    """Deny these calls to this process permanently, in all of its threads.

    Raises:
        OSError: The kernel lacks such filters, a container forbids them, or this processor's call numbers are unknown.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None or struct.calcsize("P") != 8:
        raise OSError(errno.ENOSYS, f"the calls of {platform.machine()} are not known")
    code = program(platform.machine(), os.getpid())
    buffer = ctypes.create_string_buffer(code, len(code))
    filter_ = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "new privileges cannot be given up")
    every_thread = 1
    if libc.syscall(ctypes.c_long(machine[1]), ctypes.c_long(1), ctypes.c_long(every_thread), filter_) == 0:
        return
    if libc.prctl(_SET_SECCOMP, ctypes.c_ulong(2), filter_, 0, 0):  # kernels before 3.17
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def program(machine: str, pid: int) -> bytes:
    """Assemble the filter for a processor in the kernel's format.

    Args:
        machine: A processor from the table.
        pid: The process it is for, which may send signals to itself.
    """
    arch, _, column = _MACHINES[machine]
    lines = [
        _line(_LOAD, _ARCH_AT),
        _line(_EQUAL, arch, yes=1),
        _refuse(errno.EPERM),  # calls for another architecture, such as 32-bit ones
        _line(_LOAD, _NUMBER_AT),
        _line(_GREATER, _NEWEST, no=1),
        _refuse(errno.ENOSYS),
    ]
    for calls, error in ((_ABSENT, errno.ENOSYS), (REFUSED, errno.EPERM)):
        for numbers in calls.values():
            if (number := numbers[column]) is not None:
                lines += [_line(_EQUAL, number, no=1), _refuse(error)]
    for number, check in _checks(column, pid):
        lines += [_line(_EQUAL, number, no=len(check)), *check]
    return b"".join([*lines, _line(_RETURN, _ALLOW)])


def _checks(column: int, pid: int) -> Iterator[tuple[int, list[bytes]]]:
    """Yield calls refused depending on an argument, each with its check, which starts with the call number loaded."""
    refused, allowed = _refuse(errno.EPERM), _line(_RETURN, _ALLOW)
    unwritable = [_line(_ANY_BIT, _WRITING, no=1), _refuse(errno.EACCES), allowed]
    if column == _X86_64:
        yield 2, [_argument(1), *unwritable]  # open
    yield (257, 56)[column], [_argument(2), *unwritable]  # openat
    yield (56, 220)[column], [_argument(0), _line(_ANY_BIT, _CLONE_THREAD, yes=1), refused, allowed]  # clone
    to_itself = [_argument(0), _line(_EQUAL, pid, yes=1), refused, allowed]
    # kill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo: a crash sends a signal to the process itself.
    for numbers in ((62, 129), (234, 131), (129, 138), (297, 240)):
        yield numbers[column], to_itself
    # prlimit64
    yield (
        (302, 261)[column],
        [_argument(0), _line(_EQUAL, 0, yes=2), _line(_EQUAL, pid, yes=1), refused, allowed],
    )
    yield (157, 167)[column], [_argument(0), _line(_EQUAL, _PDEATHSIG, no=1), refused, allowed]  # prctl
    yield (
        (16, 29)[column],
        [_argument(1), _line(_EQUAL, _TIOCSTI, yes=1), _line(_EQUAL, _TIOCLINUX, no=1), refused, allowed],
    )  # ioctl


def _line(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    """Return one instruction; `yes` and `no` say how many to skip."""
    return struct.pack("=HBBI", code, yes, no, value)


def _argument(position: int) -> bytes:
    """Load the lower half of an argument, which is all these calls use."""
    return _line(_LOAD, _ARGUMENTS_AT + 8 * position)


def _refuse(error: int) -> bytes:
    return _line(_RETURN, _ERROR | error)
