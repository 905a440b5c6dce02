"""Encode a CSV file with clkhash on one core and print records per second.

Usage: clkhash.py SCHEMA CSV SECRET_FILE WARM

Prints, as JSON, the version of clkhash and its rate over the rows after the
first WARM, which fill its caches. What is timed is clkhash's own hashing of rows
that are in memory.
"""

import csv
import json
import sys
import time

import clkhash
from clkhash.clk import hash_chunk
from clkhash.key_derivation import generate_key_lists
from clkhash.schema import from_json_dict


def main():
    schema_path, table_path, secret_path, warm = sys.argv[1:5]
    with open(schema_path) as f:
        schema = from_json_dict(json.load(f))
    with open(secret_path) as f:
        secret = f.read().removesuffix("\n")
    with open(table_path, newline="") as f:
        rows = list(csv.reader(f))[1:]
    keys = generate_key_lists(
        secret,
        len(schema.fields),
        key_size=schema.kdf_key_size,
        salt=schema.kdf_salt,
        info=schema.kdf_info,
        kdf=schema.kdf_type,
        hash_algo=schema.kdf_hash,
    )
    hash_chunk(rows[: int(warm)], keys, schema, None)
    start = time.perf_counter()
    clks, _ = hash_chunk(rows[int(warm) :], keys, schema, None)
    rate = len(clks) / (time.perf_counter() - start)
    version = getattr(clkhash, "__version__", None)
    if version is None:
        from importlib.metadata import version as installed

        version = installed("clkhash")
    print(json.dumps({"version": version, "rate": rate}))


main()
