#!/usr/bin/env python3
"""The encoder of docs/encoding.md, written to be read and not to be fast.

Every function is a sentence or two of that page; the headings here are its
headings. It takes values that are normalised already (docs/normalisation.md).

A JSON document a line in, one out. {"profile": a profile document, "key": K_enc
in hex, "project": .., "encoding_epoch": .., "records": [..], "published": [..]}
gives {"digest": .., "rows": [..], "encoding_kcv": ..}, where rows encodes
"records" and encoding_kcv is of "published". A record is {"date_of_birth":
"1973-10-22" or null, "values": [..]}, one value for each field of the profile: null
if missing, a date as text, else the list of parts. {"token_key": .., "release_key":
.., "domain": .., "token_epoch": .., "nhs_numbers": [..]} gives {"tokens": ..,
"release_tokens": .., "token_kcv": .., "release_kcv": ..}.

It needs the package cryptography, for AES and CMAC.
"""

import functools
import hashlib
import hmac
import json
import sys

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC


# Notation

def hmac_sha256(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


def u8(n):
    return n.to_bytes(1, "big")


def u32(n):
    return n.to_bytes(4, "big")


def lp(*parts):
    """Each part after its length as two bytes, big-endian."""
    out = b""
    for part in parts:
        part = part.encode("ascii") if isinstance(part, str) else part
        out += len(part).to_bytes(2, "big") + part
    return out


def aes_256_cmac(key, block):
    mac = CMAC(algorithms.AES(key))
    mac.update(block)
    return mac.finalize()


def keystream(key):
    """The bytes of AES-256-CTR from a counter of zeros, one by one."""
    encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    while True:
        yield from encryptor.update(bytes(1024))


def u16_little_endian(stream):
    """The bytes of a stream two by two, as numbers."""
    while True:
        low, high = next(stream), next(stream)
        yield low + 256 * high


# Profile digest

def profile_digest(document):
    """RFC 8785, for what a profile may hold: ASCII text, whole numbers, booleans."""
    canonical = json.dumps(document["encoding"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("ascii")).digest()


# Keys

def project_key(encoding_key, project, encoding_epoch, digest):
    return hmac_sha256(encoding_key, lp("tarn/encoding/v1", project, u32(encoding_epoch), digest))


def record_key(encoding, k_p, date_of_birth):
    """None for a record that has no key, and so no encoding."""
    if encoding["record_key"] == "none":
        return k_p
    if date_of_birth is None:
        return None
    return hmac_sha256(k_p, lp("record-key", "dob", date_of_birth))


def field_key(k_rec, field):
    return hmac_sha256(k_rec, lp("field", field["name"]))


def diffusion_key(k_rec, field):
    return hmac_sha256(k_rec, lp("diffusion", field["name"]))


def pad_key(k_rec, field):
    return hmac_sha256(k_rec, lp("pad", field["name"]))


# Tokens

def bigrams(value):
    tokens = set()
    for part in value:
        padded = "_" + part + "_"
        for i in range(len(padded) - 1):
            tokens.add(padded[i:i + 2])
    return tokens


def words(value):
    return set(value)


def postcode(value):
    outward, inward = value[0].split(" ")
    return ({"o" + outward}
            | {"a" + str(i) + c for i, c in enumerate(outward)}
            | {"b" + str(i) + c for i, c in enumerate(inward)})


def positional(value):
    return {"w" + value[0]} | {"c" + str(i) + c for i, c in enumerate(value[0])}


def date(value):
    year, month, day = value.split("-")
    return {"d" + day, "m" + month, "y" + str(int(year)), "e" + str(int(year) // 10), "l" + str(int(year) % 10)}


TOKENS = {"bigrams": bigrams, "words": words, "postcode": postcode, "positional": positional, "date": date}


# Positions

def block_of(token, i):
    """The one block of 16 bytes that stands for a token the i-th time."""
    if len(token) <= 14:
        return u8(i) + u8(len(token)) + token + bytes(14 - len(token))
    return u8(i) + b"\xff" + hashlib.sha256(token).digest()[:14]


def positions(k_field, token, hashes, bits):
    numbers = []
    for i in range((hashes + 7) // 8):
        y = iter(aes_256_cmac(k_field, block_of(token, i)))
        for _ in range(8):
            low, high = next(y), next(y)
            numbers.append(low + 256 * high)
    return [n & (bits - 1) for n in numbers[:hashes]]


# Filter: a list of bits, 0 or 1

def bloom_filter(k_field, field, value):
    bits = [0] * field["bits"]
    for token in TOKENS[field["tokens"]](value):
        for position in positions(k_field, token.encode("ascii"), field["hashes"], field["bits"]):
            bits[position] = 1
    return bits


def pack(bits):
    """Bit i is in byte i // 8 and has the value 2 to the i mod 8."""
    out = bytearray(len(bits) // 8)
    for i, bit in enumerate(bits):
        out[i // 8] |= bit << (i % 8)
    return bytes(out)


# Diffusion

def uniform(numbers, n):
    """A number below n. What is beyond the last whole multiple of n is drawn again."""
    while True:
        v = next(numbers)
        if v < 65536 - 65536 % n:
            return v % n


@functools.lru_cache(maxsize=16)  # the same for all records of a key
def diffusion_table(k_diff, length, inputs):
    """For each output bit, which bits of the filter are added up in it."""
    numbers = u16_little_endian(keystream(k_diff))
    table = []
    pool, n = list(range(length)), length
    for _ in range(length):
        row = []
        while len(row) < inputs:
            if n == 0:
                pool, n = list(range(length)), length
            r = uniform(numbers, n)
            p = pool[r]
            if p in row:
                continue
            n -= 1
            pool[r], pool[n] = pool[n], pool[r]
            row.append(p)
        table.append(row)
    return table


def diffuse(bits, table):
    return [sum(bits[p] for p in row) % 2 for row in table]


# Pad

def add_pad(k_pad, data):
    stream = keystream(k_pad)
    return bytes(b ^ next(stream) for b in data)


# Columns of a record

def filter_column(encoding, k_rec, field, value):
    bits = bloom_filter(field_key(k_rec, field), field, value)
    if encoding["diffusion"] > 0:
        bits = diffuse(bits, diffusion_table(diffusion_key(k_rec, field), len(bits), encoding["diffusion"]))
    out = pack(bits)
    return add_pad(pad_key(k_rec, field), out) if encoding["pad"] else out


def tag_text(value):
    return value if isinstance(value, str) else " ".join(value)


def signed(data):
    """A tag of 8 bytes as it is stored."""
    return int.from_bytes(data, "big", signed=True)


def tag_column(k_rec, field, value):
    return hmac_sha256(k_rec, lp("tag", field["name"], tag_text(value)))[:8]


def block_column(k_p, block, date_of_birth):
    return hmac_sha256(k_p, lp("block", block["kind"], date_of_birth))[:8]


def encode(encoding, k_p, record):
    """The columns of a record; None is missing."""
    date_of_birth, columns = record["date_of_birth"], {}
    for block in encoding["blocks"]:
        columns["blk_" + block["kind"]] = None if date_of_birth is None else block_column(k_p, block, date_of_birth)
    k_rec = record_key(encoding, k_p, date_of_birth)
    for field, value in zip(encoding["fields"], record["values"], strict=True):
        missing = value is None or k_rec is None
        if field["tokens"] == "tag":
            columns["tag_" + field["name"]] = None if missing else tag_column(k_rec, field, value)
        else:
            columns["bf_" + field["name"]] = None if missing else filter_column(encoding, k_rec, field, value)
    return columns


# Key check value

def key_check_row(columns):
    """Filters first, then tags, each group in the order of the profile; no blocks."""
    row = b""
    for name, data in columns.items():
        if name.startswith("bf_"):
            row += u8(0) if data is None else u8(1) + data
    for name, data in columns.items():
        if name.startswith("tag_"):
            row += u8(0) + bytes(8) if data is None else u8(1) + data
    return row


def encoding_kcv(encoding, digest, k_p, published):
    rows = b"".join(key_check_row(encode(encoding, k_p, record)) for record in published)
    return hashlib.sha256(lp("tarn/kcv/v1", digest) + rows).digest()[:16]


# Tokens of NHS numbers

def nhs_token_key(token_key, domain, token_epoch):
    return hmac_sha256(token_key, lp("tarn/nhs-token/v1", domain, u32(token_epoch)))


def nhs_token(k_tok, nhs_number):
    return hmac_sha256(k_tok, nhs_number.encode("ascii"))


def release_token(release_key, domain, token_epoch, token):
    return hmac_sha256(release_key, lp("tarn/export/v1", domain, u32(token_epoch), token))


def token_kcv(key):
    return hmac_sha256(key, lp("tarn/kcv/v1"))[:16]


# Requests and answers

def as_json(name, data):
    if data is None:
        return None
    return data.hex() if name.startswith("bf_") else signed(data)


def answer_profile(request):
    encoding = request["profile"]["encoding"]
    digest = profile_digest(request["profile"])
    k_p = project_key(bytes.fromhex(request["key"]), request["project"], request["encoding_epoch"], digest)
    rows = [encode(encoding, k_p, record) for record in request["records"]]
    return {"digest": digest.hex(),
            "rows": [{name: as_json(name, data) for name, data in row.items()} for row in rows],
            "encoding_kcv": encoding_kcv(encoding, digest, k_p, request["published"]).hex()}


def answer_tokens(request):
    domain, epoch = request["domain"], request["token_epoch"]
    release_key = bytes.fromhex(request["release_key"])
    k_tok = nhs_token_key(bytes.fromhex(request["token_key"]), domain, epoch)
    tokens = [nhs_token(k_tok, number) for number in request["nhs_numbers"]]
    return {"tokens": [token.hex() for token in tokens],
            "release_tokens": [release_token(release_key, domain, epoch, token).hex() for token in tokens],
            "token_kcv": token_kcv(k_tok).hex(), "release_kcv": token_kcv(release_key).hex()}


def main():
    for line in sys.stdin:
        request = json.loads(line)
        answer = answer_tokens(request) if "token_key" in request else answer_profile(request)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
