"""A million questions to one recording: who had this number at that moment? Prints the seconds, the index not counted.

python -m bench.lookups FILE
"""

import sys
import time

import numpy as np

import tracer

LOOKUPS = 1_000_000


def main() -> None:
    """Look up numbers at moments, both at random, in the namespaces of the recording."""
    history = tracer.open(sys.argv[1]).past.history
    random = np.random.default_rng(1)
    spaces = random.integers(0, len(history.spaces), LOOKUPS)
    numbers = random.integers(1, 32768, LOOKUPS)
    moments_ns = random.integers(history.begins_ns, history.ends_ns, LOOKUPS)
    begin = time.monotonic()
    history.holders(spaces, numbers, moments_ns)
    print(time.monotonic() - begin)


if __name__ == "__main__":
    main()
