"""Fuzzer of what reads strangers' bytes: coverage-guided (atheris), all targets at once.

    scripts/fuzz [--seconds N] [TARGET]...   N seconds for each target (60), all of them without TARGET
    scripts/fuzz --exhaustive [N [SEED]]     every cut and flipped bit of a recording, random changes for N seconds, and
                                             as root 200 times kill -9 while recording

The targets stand in tests/fuzz_targets.py. What the fuzzer has learned is kept in build/fuzz, so that the next run goes
on from there. Bytes that break a target are put into tests/seeds, where the unit tests run them from then on; a target
that is found broken makes the exit code 1.
"""

from __future__ import annotations

import argparse
import base64
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SEEDS, LEARNED = ROOT / "tests/seeds", ROOT / "build/fuzz"
NAMES = sorted(folder.name for folder in SEEDS.iterdir())
MAX_BYTES, INPUT_S, MEMORY_MB = 1 << 16, 20, 2048
_MAX_SHOWN = 1 << 15
WORDS = ROOT / "tests/fuzz.dict"


def fuzz_one(name: str, *options: str) -> None:
    """Fuzz one target in this process, until libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["tracer", "fuzz_targets"]):
        import fuzz_targets
    atheris.Setup([sys.argv[0], *options], fuzz_targets.TARGETS[name])
    atheris.Fuzz()


def begun(name: str, seconds: int) -> subprocess.Popen[str]:
    """A process that fuzzes this target for so long."""
    learned = LEARNED / name
    (learned / "corpus").mkdir(parents=True, exist_ok=True)
    for old in learned.glob("*-*"):
        old.unlink()
    options = {
        "max_total_time": seconds,
        "max_len": MAX_BYTES,
        "timeout": INPUT_S,
        "rss_limit_mb": MEMORY_MB,
        "artifact_prefix": f"{learned}/",
        "print_final_stats": 1,
        "keep_seed": 1,  # what libraries in C do shows in no coverage
        "use_value_profile": 1,
    }
    flags = [f"-dict={WORDS}", *(f"-{key}={value}" for key, value in options.items())]
    argv = [sys.executable, __file__, "--one", name, *flags, str(learned / "corpus"), str(SEEDS / name)]
    log = (learned / "log").open("w")
    return subprocess.Popen(argv, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, text=True)


def ended(name: str, process: subprocess.Popen[str]) -> bool:
    """Wait for it, say what it has found and keep that. Returns whether that was nothing."""
    code = process.wait()
    log = (LEARNED / name / "log").read_text(errors="backslashreplace")
    stats = dict(line.removeprefix("stat::").split(":", 1) for line in log.splitlines() if line.startswith("stat::"))
    print(f"fuzz: {name}: {stats.get('number_of_executed_units', '?').strip()} inputs", flush=True)
    found = [path for path in (LEARNED / name).glob("*-*") if path.is_file()]
    for path in found:
        kept = SEEDS / name / f"crash-{path.name.partition('-')[2][:12]}"
        shutil.copyfile(path, kept)
        print(f"fuzz: {name}: broken by {kept.relative_to(ROOT)}, a case from now on; in base64, of zlib:", flush=True)
        print(base64.b64encode(zlib.compress(path.read_bytes(), 9)).decode()[:_MAX_SHOWN], flush=True)
    if code or found:
        print("\n".join(log.splitlines()[-40:]), flush=True)
    return code == 0 and not found


def main() -> int:
    """All targets at once, each in a process of its own."""
    if sys.argv[1:2] == ["--one"]:
        fuzz_one(*sys.argv[2:])
    parser = argparse.ArgumentParser("scripts/fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, metavar="N")
    parser.add_argument("names", nargs="*", metavar="TARGET", help=", ".join(NAMES))
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    running = {name: begun(name, options.seconds) for name in options.names or NAMES}
    results = [ended(name, process) for name, process in running.items()]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
