#!/usr/bin/env python3
"""anonlink behind a pipe: a JSON document a line in, one out.

{"parties": [["base64", ..], ..], "threshold": .., "k": .. or null} gives
{"pairs": [[similarity, party, party, row, row], ..], "groups": [[[party, row],
..], ..]}: what anonlink's find_candidate_pairs and greedy_solve return, with
similarities as the text of float.hex. {"pairs": [[party, party, row, row], ..]}
gives the groups of these candidates alone. The first line out is {"anonlink":
version}, or null where anonlink is not installed.

anonlink_peer.py THRESHOLD DIR A.clks.json B.clks.json .. compares links.parquet
and clusters.parquet of DIR with what anonlink makes of these files.
"""

import array
import base64
import importlib.metadata
import json
import sys

try:
    from anonlink.candidate_generation import find_candidate_pairs
    from anonlink.similarities import dice_coefficient_accelerated
    from anonlink.solving import greedy_solve
    from bitarray import bitarray
    VERSION = importlib.metadata.version("anonlink")
except ImportError:
    VERSION = None


def bits(text):
    b = bitarray()
    b.frombytes(base64.b64decode(text))
    return b


def candidates_of(parties, threshold, k):
    datasets = [[bits(text) for text in party] for party in parties]
    return find_candidate_pairs(datasets, dice_coefficient_accelerated, threshold, k=k)


def rows_of(candidates):
    sims, (left, right), (rows_left, rows_right) = candidates
    return list(zip(sims, left, right, rows_left, rows_right))


def answer(request):
    if "parties" in request:
        candidates = candidates_of(request["parties"], request["threshold"], request["k"])
        pairs = [[s.hex(), *rest] for s, *rest in rows_of(candidates)]
        return {"pairs": pairs, "groups": greedy_solve(candidates)}
    columns = [array.array("I", column) for column in zip(*request["pairs"])] or [array.array("I")] * 4
    left, right, rows_left, rows_right = columns
    return {"groups": greedy_solve((array.array("d", [1.0] * len(left)), (left, right), (rows_left, rows_right)))}


def compare(threshold, folder, files):
    """Says what differs between a result and anonlink's; None if nothing does."""
    import pyarrow.parquet as parquet
    parties = [json.load(open(name))["clks"] for name in files]
    names = [name.split("/")[-1].removesuffix(".json").removesuffix(".clks") for name in files]
    candidates = candidates_of(parties, threshold, None)
    groups = {frozenset((names[d], str(r)) for d, r in group) for group in greedy_solve(candidates)}
    together = {member: group for group in groups for member in group}
    want = []
    for similarity, left, right, row_left, row_right in rows_of(candidates):
        a, b = (names[left], str(row_left)), (names[right], str(row_right))
        want.append((a, b, similarity, "link" if b in together.get(a, ()) else "no"))
    table = parquet.read_table(folder + "/links.parquet")
    got = [((r["source_dataset_l"], r["unique_id_l"]), (r["source_dataset_r"], r["unique_id_r"]), r["similarity"], r["decision"]) for r in table.to_pylist()]
    if got != want:
        return "links.parquet is not what anonlink finds"
    clusters = {}
    for r in parquet.read_table(folder + "/clusters.parquet").to_pylist():
        clusters.setdefault(r["cluster_id"], set()).add((r["source_dataset"], r["unique_id"]))
    if sum(map(len, clusters.values())) != sum(map(len, parties)):
        return "clusters.parquet has not one row a record"
    if {frozenset(c) for c in clusters.values() if len(c) > 1} != groups:
        return "clusters.parquet has not anonlink's groups"
    print(f"{len(want)} candidates and {len(groups)} groups are those of anonlink {VERSION}")
    return None


def main():
    if len(sys.argv) > 1:
        if VERSION is None:
            for to in sys.stdout, sys.stderr:
                print("anonlink is not installed: nothing is compared with it", file=to)
            return
        sys.exit(compare(float(sys.argv[1]), sys.argv[2], sys.argv[3:]))
    print(json.dumps({"anonlink": VERSION}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
