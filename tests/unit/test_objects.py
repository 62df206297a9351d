"""Compiled programs and their store: what was put comes back, and nothing that another could have written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tracer.kernel.program_cache import INSN_BYTES, CompiledPrograms, MapObject, ProgramObject, Store, key_of

LOAD_MAP = bytes([0x18, 0x11, 0, 0, 9, 0, 0, 0]) + bytes(8)  # r1 = map with descriptor 9
EXIT = bytes([0x95]) + bytes(7)
OBJECTS = CompiledPrograms(
    (MapObject("ring", 27, 0, 0, 4096), MapObject("counts", 6, 4, 272, 1)),
    (ProgramObject("nstrace_fork", EXIT + LOAD_MAP + EXIT, ((1, 1),)),),
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the store belongs to root")


def test_encoding_is_the_identity() -> None:
    assert CompiledPrograms.decode(OBJECTS.encode()) == OBJECTS


def test_linking_puts_the_descriptors_of_this_load_in() -> None:
    code = OBJECTS.programs[0].linked([70, 77])
    assert code[INSN_BYTES + 4 : INSN_BYTES + 8] == (77).to_bytes(4, "little")
    assert code[: INSN_BYTES + 4] == OBJECTS.programs[0].insns[: INSN_BYTES + 4]
    assert code[INSN_BYTES + 8 :] == OBJECTS.programs[0].insns[INSN_BYTES + 8 :]


def test_keys_tell_inputs_apart() -> None:
    assert len({key_of("ab", "c"), key_of("a", "bc"), key_of("abc"), key_of("ab", "c", "")}) == 4


@needs_root
def test_what_was_put_is_found_by_its_key_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.put("k1", OBJECTS)
    assert store.get("k1") == OBJECTS
    assert store.get("k2") is None
    assert (tmp_path / "store").stat().st_mode & 0o777 == 0o700


@needs_root
def test_what_others_can_write_is_not_taken(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("k", OBJECTS)
    (tmp_path / "k").chmod(0o620)
    assert store.get("k") is None
    (tmp_path / "k").chmod(0o600)
    assert store.get("k") == OBJECTS
    tmp_path.chmod(0o777)
    assert store.get("k") is None
    tmp_path.chmod(0o700)
    (tmp_path / "k").rename(tmp_path / "elsewhere")
    (tmp_path / "k").symlink_to("elsewhere")
    assert store.get("k") is None
    os.chown(tmp_path / "elsewhere", 65534, -1)
    assert store.get("elsewhere") is None


@needs_root
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"maps": [], "programs": [{}]}', b"\xff", "cut", "bit"])
def test_a_damaged_file_is_as_none(tmp_path: Path, content: bytes | str) -> None:
    whole = OBJECTS.encode()
    if content == "cut":
        content = whole[:-1]
    elif content == "bit":
        content = whole.replace(b"4096", b"4097")
    assert isinstance(content, bytes) and content != whole
    (tmp_path / "k").write_bytes(content)
    (tmp_path / "k").chmod(0o600)
    assert Store(tmp_path).get("k") is None


@needs_root
def test_without_room_nothing_is_left(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from tracer.kernel.program_cache import *\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "Store(Path(sys.argv[1])).put('k', CompiledPrograms((MapObject('ring', 27, 0, 0, 4096),), ()))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=30)
    assert list(tmp_path.iterdir()) == []


@needs_root
def test_nothing_is_stored_where_others_can_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    Store(tmp_path).put("k", OBJECTS)
    assert list(tmp_path.iterdir()) == []


@needs_root
def test_the_oldest_make_room(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(20):
        store.put(f"k{number}", OBJECTS)
        os.utime(tmp_path / f"k{number}", (number, number))
    store.put("last", OBJECTS)
    assert store.get("k0") is None
    assert store.get("last") == OBJECTS
    assert len(list(tmp_path.iterdir())) == 16
