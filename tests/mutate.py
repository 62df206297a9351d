"""Breaks a rule of nstrace at a time, in a copy of this checkout, and shows that the tests notice.

  scripts/mutate            all of it, some minutes; those that break the kernel's side need root
  scripts/mutate --quick    those that unit tests notice: seconds each, without root
  scripts/mutate WORD...    those whose names have one of the words

Green tests on a broken rule are a survivor, and make the exit code 1.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mutations import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 400


def copy_to(folder: Path) -> None:
    """What git has of this checkout, as it is now."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def is_green(folder: Path, tests: tuple[str, ...], say: bool = False) -> bool:
    """Whether these tests pass in the copy. say: print what pytest has to say if not."""
    argv: list[str | Path] = [ROOT / ".venv/bin/python", "-m", "pytest", "-q", "-x", *tests]
    env = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "NSTRACE_REQUIRE": "1"}
    try:
        done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return False
    if done.returncode not in (0, 1):  # 1: tests failed; else they did not run
        sys.exit(f"mutate: pytest could not run {' '.join(tests)}:\n{done.stdout.decode()[-2000:]}")
    if done.returncode and say:
        print(done.stdout.decode()[-2000:], file=sys.stderr)
    return done.returncode == 0


def is_noticed(mutation: Mutation, folder: Path) -> bool:
    path = folder / mutation.file
    before = path.read_text()
    if before.count(mutation.old) != 1:
        sys.exit(f"mutate: {mutation.file} has {before.count(mutation.old)} times what '{mutation.rule}' would change")
    path.write_text(before.replace(mutation.old, mutation.new))
    try:
        return not is_green(folder, mutation.tests)
    finally:
        path.write_text(before)


def chosen(args: list[str]) -> list[Mutation]:
    if args == ["--quick"]:
        return [mutation for mutation in MUTATIONS if not mutation.needs_kernel]
    found = [mutation for mutation in MUTATIONS if not args or any(word in mutation.rule for word in args)]
    if os.geteuid() and any(mutation.needs_kernel for mutation in found):
        sys.exit("mutate: the kernel's side needs root: sudo scripts/mutate, or scripts/mutate --quick")
    return found


def main() -> int:
    if set(sys.argv[1:]) & {"-h", "--help"}:
        print(__doc__)
        return 0
    mutations = chosen(sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="nstrace-mutate-") as name:
        folder = Path(name)
        copy_to(folder)
        tests = tuple(dict.fromkeys(test for mutation in mutations for test in mutation.tests))
        if not is_green(folder, tests, say=True):
            sys.exit("mutate: the tests are red before anything is broken")
        survivors = 0
        for mutation in mutations:
            noticed = is_noticed(mutation, folder)
            survivors += not noticed
            print(f"{'noticed ' if noticed else 'SURVIVED'}  {mutation.rule}", flush=True)
    print(f"mutate: {len(mutations) - survivors} of {len(mutations)} broken rules were noticed")
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main())
