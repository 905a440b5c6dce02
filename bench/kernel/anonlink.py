"""Compare two files of filters with anonlink on one core.

Usage: anonlink.py LEFT RIGHT FILTER_BYTES THRESHOLD PAIRS

Writes the pairs it finds to PAIRS, as (left, right, score) in native uint32,
uint32 and double, in no particular order, and prints, as JSON, the version of
anonlink and the seconds that it took. What is timed is anonlink's own search,
in C++, among filters that are in memory.
"""

import json
import sys
import time
from importlib.metadata import version

import numpy as np
from anonlink.similarities import dice_coefficient_accelerated
from bitarray import bitarray


def read(path, size):
    with open(path, "rb") as f:
        data = f.read()
    filters = []
    for start in range(0, len(data), size):
        b = bitarray()
        b.frombytes(data[start : start + size])
        filters.append(b)
    return filters


def main():
    left_path, right_path, size, threshold, pairs_path = sys.argv[1:6]
    filters = read(left_path, int(size)), read(right_path, int(size))
    start = time.perf_counter()
    scores, (left, right) = dice_coefficient_accelerated(filters, float(threshold))
    seconds = time.perf_counter() - start
    pairs = np.empty(len(scores), dtype=[("left", "u4"), ("right", "u4"), ("score", "f8")])
    pairs["left"], pairs["right"], pairs["score"] = left, right, scores
    pairs.tofile(pairs_path)
    print(json.dumps({"version": version("anonlink"), "seconds": seconds}))


main()
