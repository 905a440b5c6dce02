#!/usr/bin/env python3
"""Write testdata/clkhash/vectors.json: what clkhash 0.18.3 makes of synthetic rows.

Usage: clkhash_vectors.py > testdata/clkhash/vectors.json

Each example is a schema, a secret, rows and their CLKs, "" for a row that
clkhash refuses. The rows are of nobody.
"""

import base64
import copy
import json
import pathlib
import sys

from clkhash_peer import answer

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "clkhash"


def feature(name, comparison, strategy, form=None, **hashing):
    return {
        "identifier": name,
        "format": form or {"type": "string", "encoding": "utf-8"},
        "hashing": {"comparison": comparison, "strategy": strategy, **hashing},
    }


def schema(*features, l=1024, kdf=None, **config):
    base = {"type": "HKDF", "hash": "SHA256", "keySize": 64, "salt": base64.b64encode(b"salt").decode(), "info": base64.b64encode(b"info").decode()}
    return {"version": 3, "clkConfig": {"l": l, "kdf": {**base, **(kdf or {})}, **config}, "features": list(features)}


NAMES = [["anne"], ["Zoë"], ["o'brien"], ["李"], [""], ["a"], ["smith smith"], ["\u00df"]]
DATES = [["1973-10-22"], ["2000-02-29"], ["1999-02-29"], ["x"], ["0999-01-01"]]
NUMBERS = [["0"], ["7"], ["-3"], ["12.5"], ["99.95"], ["100"], ["x"], [""]]


def examples():
    bigram, each, spread = {"type": "ngram", "n": 2}, {"bitsPerToken": 12}, {"bitsPerFeature": 70}
    for hashing in ("doubleHash", "blakeHash"):
        for strategy in (each, spread):
            kind = {"type": hashing}
            yield f"bigrams {hashing} {strategy}", schema(feature("name", bigram, strategy, hash=kind)), NAMES
        yield f"unigrams by place {hashing}", schema(feature("name", {"type": "ngram", "n": 1, "positional": True}, each, hash=kind)), NAMES
        yield f"trigrams {hashing}", schema(feature("name", {"type": "ngram", "n": 3}, spread, hash=kind), l=512), NAMES
        yield f"exact {hashing}", schema(feature("name", {"type": "exact"}, each, hash=kind)), NAMES
        yield f"numbers {hashing}", schema(feature("number", {"type": "numeric", "resolution": 4, "thresholdDistance": 2, "fractionalPrecision": 1}, each,
                                                   {"type": "string", "encoding": "utf-8"}, hash=kind)), NUMBERS
    yield "singular hashes are made anew", schema(feature("name", bigram, each, hash={"type": "doubleHash", "prevent_singularity": True})), NAMES
    yield "a sentinel replaced", schema(feature("name", bigram, each, missingValue={"sentinel": "", "replaceWith": "none"})), NAMES
    yield "a sentinel hashed", schema(feature("name", bigram, each, missingValue={"sentinel": "a"})), NAMES
    yield "dates", schema(feature("born", {"type": "ngram", "n": 1, "positional": True}, each, {"type": "date", "format": "%Y-%m-%d"})), DATES
    yield "whole numbers", schema(feature("number", {"type": "ngram", "n": 1, "positional": True}, each, {"type": "integer", "minimum": 0, "maximum": 99})), NUMBERS
    yield "codes", schema(feature("sex", {"type": "exact"}, each, {"type": "enum", "values": ["M", "F"]})), [["M"], ["F"], ["X"], [""]]
    yield "folded once", schema(feature("name", bigram, each), xor_folds=1), NAMES
    yield "folded twice", schema(feature("name", bigram, each), l=256, xor_folds=2), NAMES
    yield "SHA-512, short keys", schema(feature("name", bigram, each), kdf={"hash": "SHA512", "keySize": 16}), NAMES
    yield "UTF-16", schema(feature("name", bigram, each, {"type": "string", "encoding": "utf-16"})), NAMES
    people = json.loads((FOLDER / "people.json").read_text())
    rows = [
        ["rec-1-org", "michaela", "neumann", "8", "stanley street", "miami", "winston hills", "4223", "nsw", "19151111", "5304218"],
        ["rec-2-org", "zoë", "o'brien", "", "wilton road", "", "corwil", "4000", "", "19161214", "4066625"],
        ["rec-3-org", "", "", "12", "", "", "", "800", "vic", "", "1"],
        ["rec-4-org", "a", "b", "x", "c", "d", "e", "49", "qld", "19700101", "2"],
    ]
    yield "people", people, rows


def main():
    made = []
    for name, document, rows in examples():
        said = answer({"schema": copy.deepcopy(document), "secret": "a secret of nobody", "rows": rows})
        if said.get("refused"):
            sys.exit(f"clkhash refuses the schema of {name!r}")
        made.append({"name": name, "schema": document, "secret": "a secret of nobody", "rows": rows, "clks": [clk or "" for clk in said["clks"]]})
    json.dump(made, sys.stdout, indent=1, ensure_ascii=True)
    print()


if __name__ == "__main__":
    main()
