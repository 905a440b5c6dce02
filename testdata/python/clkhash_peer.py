#!/usr/bin/env python3
"""clkhash behind a pipe: a JSON document a line in, one out.

{"schema": .., "secret": .., "rows": [[..], ..]} gives {"clks": [..]}, where null
stands for a row that clkhash refuses, or {"refused": true} where it refuses the
schema. With "seconds": true it gives {"seconds": ..} instead: the processor time
that clkhash takes for the rows, without the first "warm" of them.
"""

import json
import sys
import time

from clkhash import bloomfilter, clk, schema as schemas
from clkhash.key_derivation import generate_key_lists
from clkhash.serialization import serialize_bitarray


def clear_caches():
    # The caches do not know the secret from its key only: keys are in them. They
    # are emptied so that memory stays bounded.
    for function in (bloomfilter._double_hash_encode_ngrams, bloomfilter._double_hash_token,
                     bloomfilter._double_hash_token_non_singular, bloomfilter._blake_encode_ngrams,
                     bloomfilter.blake_hash_token):
        function.cache_clear()


def keys_of(schema, secret):
    return generate_key_lists(secret, len(schema.fields), key_size=schema.kdf_key_size, salt=schema.kdf_salt,
                              info=schema.kdf_info, kdf=schema.kdf_type, hash_algo=schema.kdf_hash)


def encode(row, keys, schema):
    try:
        clks, _ = clk.hash_chunk([row], keys, schema)
    except Exception:  # EntryError for what it knows to be wrong; anything else for the rest
        return None
    return serialize_bitarray(clks[0])


def answer(request):
    document, secret, rows = request["schema"], request["secret"], request["rows"]
    try:
        schema = schemas.from_json_dict(document)
        keys = keys_of(schema, secret)
    except Exception:  # SchemaError for what it knows to be wrong; anything else for the rest
        return {"refused": True}
    if request.get("seconds"):
        def chunked(part):
            for i in range(0, len(part), 10_000):  # the size of clkhash's own chunks
                clk.hash_chunk(part[i:i + 10_000], keys, schema)
        chunked(rows[:request["warm"]])
        start = time.process_time()
        chunked(rows[request["warm"]:])
        return {"seconds": time.process_time() - start}
    clear_caches()
    return {"clks": [encode(row, keys, schema) for row in rows]}


def main():
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
