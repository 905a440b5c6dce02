#!/usr/bin/env python3
"""Encode a CSV file as `anonlink encode` does, or read CLKs as `anonlink upload` does.

Usage: clkhash_encode.py CSV SECRET SCHEMA CLKS [--no-header]
       clkhash_encode.py --read CLKS ROWS BITS

The commands of anonlink-client around clkhash do nothing else.
"""

import json
import sys

from clkhash.clk import generate_clk_from_csv
from clkhash.schema import from_json_file
from clkhash.serialization import deserialize_bitarray, serialize_bitarray


def encode(table_path, secret, schema_path, clks_path, header):
    with open(schema_path) as f:
        schema = from_json_file(f)
    with open(table_path) as f:
        clks = generate_clk_from_csv(f, secret, schema, header=header, progress_bar=False, max_workers=1)
    with open(clks_path, "w") as f:
        json.dump({"clks": [serialize_bitarray(clk) for clk in clks]}, f)


def read(clks_path, rows, bits):
    with open(clks_path, "rb") as f:
        clks = json.load(f)["clks"]
    assert len(clks) == rows, f"{len(clks)} CLKs"
    assert all(len(deserialize_bitarray(clk)) == bits for clk in clks), "a CLK of another length"


if sys.argv[1] == "--read":
    read(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
else:
    encode(*sys.argv[1:5], header="--no-header" not in sys.argv)
