"""The program that looks around in a PID namespace, with nothing in it for an attacker who controls it.

A container that has CAP_SYS_PTRACE may trace, read and write every process that it sees, whatever that has given up. So
this is a program of its own: some sixty instructions in an unnamed file (memfd_create(2)), without a library and an
environment, that maps no file of the host and has no memory of ours.

It begins outside of the namespace. It makes itself undumpable, which an exec would undo, sets a filter of system calls,
and forks into the namespace: what is visible inside has been confined before. Its exit code is 0, or the errno of what
failed. The child checks each number up to its own, the newest, and up to the highest that is known otherwise:
fcntl(SLIP, F_SETOWN, nr) looks a number up in the namespace of the caller (f_setown, fs/fcntl.c). Each number that a
process has it writes to ANSWERS, as an int, and continues when it has read something from there; 0 is the end.
"""

from __future__ import annotations

import errno
import os
import signal
import struct

from tracer.system.seccomp import ALLOW, INSN_BYTES, KILL_PROCESS, SyscallRule, filter_of

ANSWERS, SLIP = 0, 1  # descriptors: a socket, and any file, whose owner is then the process that has the number

# Machine code beside what it was made from; a test assembles it again. Behind it stand `highest` and `filter`.
_LISTINGS = {
    "x86_64": """
b89d000000          mov eax, 157              // prctl(PR_SET_DUMPABLE, 0)
bf04000000          mov edi, 4
31f6                xor esi, esi
0f05                syscall
b89d000000          mov eax, 157              // prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter)
bf16000000          mov edi, 22
be02000000          mov esi, 2
488d15ac000000      lea rdx, [rip + filter]
0f05                syscall
85c0                test eax, eax
751a                jnz outside
b838000000          mov eax, 56               // clone(CLONE_PARENT | SIGCHLD, 0, ...)
bf11800000          mov edi, 0x8011
31f6                xor esi, esi
31d2                xor edx, edx
4531d2              xor r10d, r10d
4531c0              xor r8d, r8d
0f05                syscall
85c0                test eax, eax
740e                jz inside
                outside:
31ff                xor edi, edi              // exit_group(failed ? errno : 0)
f7d8                neg eax
0f49f8              cmovns edi, eax
b8e7000000          mov eax, 231
0f05                syscall
                inside:
b827000000          mov eax, 39               // own = getpid()
0f05                syscall
4189c4              mov r12d, eax
448b2d65000000      mov r13d, [rip + highest] // last = max(highest, own)
4539e5              cmp r13d, r12d
450f4cec            cmovl r13d, r12d
31db                xor ebx, ebx              // nr = 0
                next:
ffc3                inc ebx                   // if (++nr > last) goto done
4439eb              cmp ebx, r13d
7f37                jg done
4439e3              cmp ebx, r12d             // if (nr == own) goto next
74f4                je next
b848000000          mov eax, 72               // if (fcntl(1, F_SETOWN, nr) != 0) goto next
bf01000000          mov edi, 1
be08000000          mov esi, 8
89da                mov edx, ebx
0f05                syscall
85c0                test eax, eax
75dd                jnz next
53                  push rbx                  // write(0, &nr, 4)
b801000000          mov eax, 1
31ff                xor edi, edi
4889e6              mov rsi, rsp
ba04000000          mov edx, 4
0f05                syscall
31c0                xor eax, eax              // if (read(0, &nr on the stack, 4) > 0) goto next
0f05                syscall
59                  pop rcx
85c0                test eax, eax
7fc2                jg next
                done:
6a00                push 0                    // write(0, &zero, 4)
b801000000          mov eax, 1
31ff                xor edi, edi
4889e6              mov rsi, rsp
ba04000000          mov edx, 4
0f05                syscall
b8e7000000          mov eax, 231              // exit_group(0)
31ff                xor edi, edi
0f05                syscall
6690                xchg ax, ax
""",
    "aarch64": """
e81480d2            mov x8, 167               // prctl(PR_SET_DUMPABLE, 0)
800080d2            mov x0, 4
010080d2            mov x1, 0
010000d4            svc 0
e81480d2            mov x8, 167               // prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter)
c00280d2            mov x0, 22
410080d2            mov x1, 2
22070010            adr x2, filter
010000d4            svc 0
200100b5            cbnz x0, outside
881b80d2            mov x8, 220               // clone(CLONE_PARENT | SIGCHLD, 0, ...)
200290d2            mov x0, 0x8011
010080d2            mov x1, 0
020080d2            mov x2, 0
030080d2            mov x3, 0
040080d2            mov x4, 0
010000d4            svc 0
c00000b4            cbz x0, inside
                outside:
e00300cb            neg x0, x0                // exit_group(failed ? errno : 0)
1f0000f1            cmp x0, 0
00c09f9a            csel x0, x0, xzr, gt
c80b80d2            mov x8, 94
010000d4            svc 0
                inside:
881580d2            mov x8, 172               // own = getpid()
010000d4            svc 0
f303002a            mov w19, w0
94040018            ldr w20, highest          // last = max(highest, own)
9f02136b            cmp w20, w19
94c2931a            csel w20, w20, w19, gt
15008052            mov w21, 0                // nr = 0
                next:
b5060011            add w21, w21, 1           // if (++nr > last) goto done
bf02146b            cmp w21, w20
ac020054            b.gt done
bf02136b            cmp w21, w19              // if (nr == own) goto next
80ffff54            b.eq next
280380d2            mov x8, 25                // if (fcntl(1, F_SETOWN, nr) != 0) goto next
200080d2            mov x0, 1
010180d2            mov x1, 8
e203152a            mov w2, w21
010000d4            svc 0
c0feff35            cbnz w0, next
f50f1fb8            str w21, [sp, -16]!       // write(0, &nr, 4)
080880d2            mov x8, 64
000080d2            mov x0, 0
e1030091            mov x1, sp
820080d2            mov x2, 4
010000d4            svc 0
e80780d2            mov x8, 63                // if (read(0, &nr on the stack, 4) > 0) goto next
000080d2            mov x0, 0
010000d4            svc 0
ff430091            add sp, sp, 16
1f000071            cmp w0, 0
4cfdff54            b.gt next
                done:
ff0f1fb8            str wzr, [sp, -16]!       // write(0, &zero, 4)
080880d2            mov x8, 64
000080d2            mov x0, 0
e1030091            mov x1, sp
820080d2            mov x2, 4
010000d4            svc 0
c80b80d2            mov x8, 94                // exit_group(0)
000080d2            mov x0, 0
010000d4            svc 0
""",
}
CODE_COLUMNS = 16
_E_MACHINE = {"x86_64": 62, "aarch64": 183}  # include/uapi/linux/elf-em.h

_CLONE_PARENT = 0x00008000  # our parent gets its exit status too
_F_SETOWN = 8
_ALLOWED = (
    SyscallRule("clone", ((0, _CLONE_PARENT | signal.SIGCHLD),)),
    SyscallRule("getpid"),
    SyscallRule("fcntl", ((0, SLIP), (1, _F_SETOWN))),
    SyscallRule("write", ((0, ANSWERS),)),
    SyscallRule("read", ((0, ANSWERS),)),
    SyscallRule("exit_group"),
)

_HEADER = struct.Struct("=4s5B7x2HI3QI6H")  # Elf64_Ehdr
_SEGMENT = struct.Struct("=2I6Q")  # Elf64_Phdr
_HIGHEST, _FPROG = struct.Struct("=i4x"), struct.Struct("=H6xQ")  # struct sock_fprog
_LOAD, _GNU_STACK, _EXECUTE, _WRITE, _READ = 1, 0x6474E551, 1, 2, 4
_ADDRESS, _MAX_PAGE_BYTES = 0x400000, 0x10000


def program(highest: int, machine: str = os.uname().machine) -> bytes:
    """An ELF file that checks all numbers up to this one, and up to its own. Raises OSError for an architecture that it
    was not written for."""
    if machine not in _LISTINGS:
        raise OSError(errno.ENOEXEC, f"it is not written for {machine}")
    code = bytes.fromhex("".join(line[:CODE_COLUMNS] for line in listing(machine)))
    instructions = filter_of(_ALLOWED, ALLOW, KILL_PROCESS, machine)
    begin = _HEADER.size + 2 * _SEGMENT.size
    filter_at = begin + len(code) + _HIGHEST.size + _FPROG.size
    fprog = _FPROG.pack(len(instructions) // INSN_BYTES, _ADDRESS + filter_at)
    size = filter_at + len(instructions)
    header = (
        *(b"\x7fELF", 2, 1, 1, 0, 0),  # 64 bits, little-endian, version 1, System V
        *(2, _E_MACHINE[machine], 1, _ADDRESS + begin, _HEADER.size, 0, 0),  # ET_EXEC; where it begins, its segments
        *(_HEADER.size, _SEGMENT.size, 2, 0, 0, 0),
    )
    text = _SEGMENT.pack(_LOAD, _READ | _EXECUTE, 0, _ADDRESS, _ADDRESS, size, size, _MAX_PAGE_BYTES)
    stack = _SEGMENT.pack(_GNU_STACK, _READ | _WRITE, 0, 0, 0, 0, 0, 16)
    return b"".join([_HEADER.pack(*header), text, stack, code, _HIGHEST.pack(highest), fprog, instructions])


def listing(machine: str) -> list[str]:
    """The lines of the source: machine code in hexadecimal, and the assembler behind it. Raises KeyError."""
    return _LISTINGS[machine].strip("\n").splitlines()
