"""The program that looks around: its code is what its listing says, and its filter lets nothing else through."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tracer.kernel import inside_child

MACHINES = ["x86_64", "aarch64"]
INTEL = ".intel_syntax noprefix\n"
DATA = "\nhighest: .long 0, 0\nfilter:\n"


def assembler(machine: str) -> str | None:
    return shutil.which("as" if machine == os.uname().machine else f"{machine}-linux-gnu-as")


@pytest.mark.parametrize("machine", [machine for machine in MACHINES if assembler(machine)])
def test_the_code_is_what_stands_beside_it(machine: str, tmp_path: Path) -> None:
    lines = [line[inside_child.CODE_COLUMNS :].split("//")[0] for line in inside_child.listing(machine)]
    made, code = tmp_path / "made", tmp_path / "code"
    source = (INTEL if machine == "x86_64" else "") + "\n".join(lines) + DATA
    tool = assembler(machine)
    assert tool
    subprocess.run([tool, "-o", made, "-"], input=source, text=True, check=True)
    subprocess.run([tool.removesuffix("as") + "objcopy", "-O", "binary", "-j", ".text", made, code], check=True)
    assert code.read_bytes() == bytes.fromhex(
        "".join(line[: inside_child.CODE_COLUMNS] for line in inside_child.listing(machine))
    ) + bytes(8)


@pytest.mark.parametrize("machine", MACHINES)
def test_it_is_one_segment_that_cannot_be_written_to(machine: str) -> None:
    program = inside_child.program(4711, machine)
    assert program[:4] == b"\x7fELF"
    assert (4711).to_bytes(4, "little") in program
    flags = [int.from_bytes(program[at + 4 : at + 8], "little") for at in (64, 64 + 56)]
    assert flags == [0b101, 0b110]  # what is loaded: read, execute; the stack: read, write
    assert len(program) < 1024


def test_another_architecture() -> None:
    with pytest.raises(OSError, match="riscv64"):
        inside_child.program(1, "riscv64")
