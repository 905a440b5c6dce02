#!/usr/bin/env python3
"""Oblivious tokens (specification (h)), written to be read and not to be fast.

The group is plain integers, after RFC 9496; it needs nothing that Python does not
bring. One JSON document a line in, one out; bytes are hex.

{"encode": ["9434765919", ..]}                            -> {"points": [..]}
{"decode": [point, ..]}                                   -> {"numbers": ["..", or null]}
{"request": {header}, "numbers" or "tokens": [..], "base": point, "factors": [scalar, ..]} -> {"request": ..}
{"answer": request, "key": scalar, "base": point, "public": point, "nonce": scalar} -> {"response": ..}
{"finish": response, "request": .., "factors": [..], "base": .., "public": ..} -> {"tokens": [..]} or {"refused": why}
{"parcel": {header}, "recipient": point, "seal": .., "tokens": [point or null, ..], "payloads": [..], "factors": [..]} -> {"request": ..}
{"answer_parcel": request, "key": .., "base": .., "public": .., "recipient": .., "nonce": .., "order": [..], "factors": [..]} -> {"answer": ..}
{"open": token, "domain_no": n, "token_epoch": n, "key": scalar, "public": point, "nonce": scalar} -> {"point": .., "proof": .., "number": ".." or null} or {"refused": why}
{"verify_opening": token, "domain_no": n, "token_epoch": n, "public": point, "point": .., "proof": ..} -> {"number": ".." or null} or {"refused": why}
{"open_parcel": answer, "key": scalar, "base": .., "public": ..} -> {"tokens": [.. or null], "payloads": [..]} or {"refused": why}

A header is {"op", "domain_no", "token_epoch", "to_domain_no", "to_epoch", "request_id"}.
"""

import hashlib
import hmac
import json
import sys

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


# The group: points (x, y, z, t) of edwards25519, of which some are the same element

def negative(x):
    return x % P % 2 == 1


def square_root_of_ratio(u, v):
    """The non-negative root of u/v where there is one, else of i u/v (RFC 9496, 4.2)."""
    r = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    check = v * r * r % P
    if check in (-u % P, -u * ROOT_OF_MINUS_ONE % P):
        r = r * ROOT_OF_MINUS_ONE % P
    return check in (u % P, -u % P), -r % P if negative(r) else r


INVERSE_ROOT_OF_A_MINUS_D = square_root_of_ratio(1, (-1 - D) % P)[1]


def decode_point(b):
    """RFC 9496, 4.3.1; None for what is no element."""
    s = int.from_bytes(b, "little")
    if len(b) != 32 or s >= P or negative(s):
        return None
    u1, u2 = (1 - s * s) % P, (1 + s * s) % P
    v = (-D * u1 * u1 - u2 * u2) % P
    square, root = square_root_of_ratio(1, v * u2 * u2 % P)
    dx, dy = root * u2 % P, root * root * u2 * v % P
    x = 2 * s * dx % P
    x = -x % P if negative(x) else x
    y = u1 * dy % P
    if not square or negative(x * y) or y == 0:
        return None
    return x, y, 1, x * y % P


def encode_point(point):
    """RFC 9496, 4.3.2."""
    x0, y0, z0, t0 = point
    u1, u2 = (z0 + y0) * (z0 - y0) % P, x0 * y0 % P
    root = square_root_of_ratio(1, u1 * u2 * u2 % P)[1]
    den1, den2 = root * u1 % P, root * u2 % P
    z_inverse = den1 * den2 * t0 % P
    if negative(t0 * z_inverse):
        x, y, den = y0 * ROOT_OF_MINUS_ONE % P, x0 * ROOT_OF_MINUS_ONE % P, den1 * INVERSE_ROOT_OF_A_MINUS_D % P
    else:
        x, y, den = x0, y0, den2
    if negative(x * z_inverse):
        y = -y % P
    s = den * (z0 - y) % P
    return (-s % P if negative(s) else s).to_bytes(32, "little")


IDENTITY = (0, 1, 1, 0)


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * D * p[3] * q[3] % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(k, p):
    total, k = IDENTITY, k % ORDER
    while k:
        if k & 1:
            total = add(total, p)
        p, k = add(p, p), k >> 1
    return total


def opposite(p):
    return -p[0] % P, p[1], p[2], -p[3] % P


def element(b):
    """An element that may stand in a batch."""
    p = decode_point(b)
    if p is None or b == bytes(32):
        raise ValueError("an element is not canonical, or is the identity")
    return p


GENERATOR = decode_point(bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"))


# Numbers as elements

def half(number_of_round, b):
    return hashlib.sha256(b"tarn/enc/v1" + b"\0" + bytes([number_of_round]) + b).digest()[:16]


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def permute(b, rounds):
    left, right = b[:16], b[16:]
    for r in rounds:
        if r % 2 == 0:
            right = xor(right, half(r, left))
        else:
            left = xor(left, half(r, right))
    return left + right


def encode(number):
    for counter in range(2**16):
        b = permute(int(number).to_bytes(8, "big") + counter.to_bytes(2, "big") + bytes(22), range(10))
        if b[31] & 0x80 or b[0] & 1:
            continue
        p = decode_point(b)
        if p is not None and b != bytes(32):
            return p


def decode(b):
    plain = permute(b, range(9, -1, -1))
    number = int.from_bytes(plain[:8], "big")
    digits = "%010d" % number
    if plain[10:] != bytes(22) or number >= 10**10 or len(set(digits)) == 1:
        return None
    check = (11 - sum((10 - i) * int(d) for i, d in enumerate(digits[:9])) % 11) % 11
    if check != int(digits[9]) or encode_point(encode(digits)) != b:
        return None
    return digits


# Batches

def lp(*parts):
    return b"".join(len(p).to_bytes(2, "big") + p for p in parts)


def u32(n):
    return n.to_bytes(4, "big")


class Batch:
    def __init__(self, magic, b):
        if len(b) < 44 or b[:5] != magic + b"\1" or b[6:8] != bytes(2):
            raise ValueError("it is no batch")
        self.op, self.numbers = b[5:6], [b[8 + 4 * i:12 + 4 * i] for i in range(4)]
        self.request_id, self.n, self.header = b[24:40], int.from_bytes(b[40:44], "big"), b[4:44]
        rest = b[44:]
        if not 1 <= self.n <= 16384 or len(rest) != 32 * self.n + (64 if magic == b"TNEW" else 0):
            raise ValueError("it is longer or shorter than its number of elements")
        self.elements = [rest[32 * i:32 * i + 32] for i in range(self.n)]
        self.proof = rest[32 * self.n:]

    def context(self):
        return lp(b"tarn/dleq/v1", self.op, *self.numbers, self.request_id)


def weights(context, base, public, inputs, outputs):
    seed = hashlib.sha512(lp(context, base, public) + u32(len(inputs)) + b"".join(b + z for b, z in zip(inputs, outputs))).digest()
    return [int.from_bytes(hmac.new(seed, u32(j), hashlib.sha512).digest()[:16], "little") for j in range(len(inputs))]


def expand(message, dst, length):
    """expand_message_xmd of RFC 9380 with SHA-512."""
    if len(dst) > 255:
        dst = hashlib.sha512(b"H2C-OVERSIZE-DST-" + dst).digest()
    prime = dst + bytes([len(dst)])
    first = hashlib.sha512(bytes(128) + message + length.to_bytes(2, "big") + b"\0" + prime).digest()
    block, out = hashlib.sha512(first + b"\1" + prime).digest(), b""
    counter = 1
    while True:
        out += block
        if len(out) >= length:
            return out[:length]
        counter += 1
        block = hashlib.sha512(xor(block, first) + bytes([counter]) + prime).digest()


def hash_to_scalar(message, context):
    return int.from_bytes(expand(message, b"HashToScalar-" + context, 64), "little") % ORDER


def composite(context, public, m, w):
    """The proof of two elements weighs them once more (circl's zk/dleq of one)."""
    seed = hashlib.sha512(lp(public, b"Seed-" + context)).digest()
    return hash_to_scalar(lp(seed) + b"\0\0" + lp(m, w) + b"Composite", context)


def challenge(context, *parts):
    return hash_to_scalar(lp(*parts) + b"Challenge", context)


def total(weights_of, elements):
    t = IDENTITY
    for d, e in zip(weights_of, elements):
        t = add(t, multiply(d, e))
    return t


def prove(context, base, public, k, nonce, m):
    w = multiply(k, m)
    d = composite(context, public, encode_point(m), encode_point(w))
    m, w = multiply(d, m), multiply(d * k, m)
    commitments = [encode_point(multiply(nonce, e)) for e in (element(base), m)]
    c = challenge(context, base, public, encode_point(m), encode_point(w), *commitments)
    return c.to_bytes(32, "little") + ((nonce - c * k) % ORDER).to_bytes(32, "little")


def verify(context, base, public, m, w, proof):
    c, s = int.from_bytes(proof[:32], "little"), int.from_bytes(proof[32:], "little")
    d = composite(context, public, encode_point(m), encode_point(w))
    m, w = multiply(d, m), multiply(d, w)
    commitments = [encode_point(add(multiply(s, e), multiply(c, ke))) for e, ke in ((element(base), element(public)), (m, w))]
    return c < ORDER and s < ORDER and c == challenge(context, base, public, encode_point(m), encode_point(w), *commitments)


def make_request(d):
    h = d["request"]
    if "numbers" in d:
        elements = [encode(n) for n in d["numbers"]]
    else:
        elements = [element(bytes.fromhex(t)) for t in d["tokens"]]
    base = element(bytes.fromhex(d["base"]))
    blinded = [add(e, multiply(scalar(f), base)) for e, f in zip(elements, d["factors"])]
    return (b"TNEV\1" + bytes([h["op"], 0, 0]) + b"".join(u32(h[n]) for n in ("domain_no", "token_epoch", "to_domain_no", "to_epoch"))
            + bytes.fromhex(h["request_id"]) + u32(len(blinded)) + b"".join(map(encode_point, blinded)))


def scalar(text):
    return int.from_bytes(bytes.fromhex(text), "little")


def make_answer(d):
    batch, k = Batch(b"TNEV", bytes.fromhex(d["answer"])), scalar(d["key"])
    base, public = bytes.fromhex(d["base"]), bytes.fromhex(d["public"])
    inputs = [element(b) for b in batch.elements]
    outputs = [encode_point(multiply(k, e)) for e in inputs]
    m = total(weights(batch.context(), base, public, batch.elements, outputs), inputs)
    return b"TNEW" + batch.header + b"".join(outputs) + prove(batch.context(), base, public, k, scalar(d["nonce"]), m)


def finish(d):
    request, response = Batch(b"TNEV", bytes.fromhex(d["request"])), Batch(b"TNEW", bytes.fromhex(d["finish"]))
    base, public = bytes.fromhex(d["base"]), bytes.fromhex(d["public"])
    if request.header != response.header:
        raise ValueError("it is the answer to something else")
    inputs, outputs = [element(b) for b in request.elements], [element(b) for b in response.elements]
    w = weights(request.context(), base, public, request.elements, response.elements)
    if not verify(request.context(), base, public, total(w, inputs), total(w, outputs), response.proof):
        raise ValueError("the proof does not hold")
    key = element(public)
    return [encode_point(add(z, opposite(multiply(scalar(f), key)))).hex() for z, f in zip(outputs, d["factors"])]


# Openings (docs/oblivious.md)

def opening_context(d):
    return lp(b"tarn/dleq-open/v1", u32(d["domain_no"]), u32(d["token_epoch"]))


def open_token(d):
    t, k = element(bytes.fromhex(d["open"])), scalar(d["key"])
    p = multiply(pow(k, ORDER - 2, ORDER), t)
    proof = prove(opening_context(d), encode_point(GENERATOR), bytes.fromhex(d["public"]), k, scalar(d["nonce"]), p)
    return {"point": encode_point(p).hex(), "proof": proof.hex(), "number": decode(encode_point(p))}


def verify_opening(d):
    t, p = element(bytes.fromhex(d["verify_opening"])), element(bytes.fromhex(d["point"]))
    if not verify(opening_context(d), encode_point(GENERATOR), bytes.fromhex(d["public"]), p, t, bytes.fromhex(d["proof"])):
        raise ValueError("the proof does not hold")
    return {"number": decode(encode_point(p))}


# Conversions for another party (docs/oblivious.md)

class Parcel:
    def __init__(self, magic, b):
        if len(b) < 52 or b[:5] != magic + b"\1" or b[5:8] != bytes([4, 0, 0]):
            raise ValueError("it is no conversion for another party")
        self.op, self.numbers = b[5:6], [b[8 + 4 * i:12 + 4 * i] for i in range(4)]
        self.request_id, self.header = b[24:40], b[4:44]
        self.n, payload, seal = (int.from_bytes(b[40 + 4 * i:44 + 4 * i], "big") for i in range(3))
        self.lengths, self.seal, rest = b[44:52], b[52:52 + seal], b[52 + seal:]
        points = 2 if magic == b"TNEV" else 4
        wide = 32 * points + payload
        if not 1 <= self.n <= 16384 or len(self.seal) != seal or len(rest) != self.n * wide + (64 if points == 4 else 0):
            raise ValueError("it is longer or shorter than its number of rows")
        rows = [rest[wide * i:wide * (i + 1)] for i in range(self.n)]
        self.points = [[row[32 * j:32 * j + 32] for j in range(points)] for row in rows]
        self.payloads = [row[32 * points:] for row in rows]
        self.proof = rest[self.n * wide:]

    context = Batch.context


def make_parcel(d):
    h, y = d["parcel"], element(bytes.fromhex(d["recipient"]))
    payloads, seal = [bytes.fromhex(p) for p in d["payloads"]], bytes.fromhex(d["seal"])
    rows = []
    for token, payload, r in zip(d["tokens"], payloads, map(scalar, d["factors"])):
        c2 = multiply(r, y) if token is None else add(element(bytes.fromhex(token)), multiply(r, y))
        rows.append(encode_point(multiply(r, GENERATOR)) + encode_point(c2) + payload)
    return (b"TNEV\1" + bytes([h["op"], 0, 0]) + b"".join(u32(h[n]) for n in ("domain_no", "token_epoch", "to_domain_no", "to_epoch"))
            + bytes.fromhex(h["request_id"]) + u32(len(rows)) + u32(len(payloads[0])) + u32(len(seal)) + seal + b"".join(rows))


def answer_parcel(d):
    p, k, y = Parcel(b"TNEV", bytes.fromhex(d["answer_parcel"])), scalar(d["key"]), element(bytes.fromhex(d["recipient"]))
    base, public = bytes.fromhex(d["base"]), bytes.fromhex(d["public"])
    inputs, outputs, rows = [], [], []
    for at, s in zip(d["order"], map(scalar, d["factors"])):
        c1, c2 = map(element, p.points[at])
        u = add(c1, multiply(s, GENERATOR)), add(c2, multiply(s, y))
        v = [multiply(k, e) for e in u]
        inputs += u
        outputs += map(encode_point, v)
        rows.append(b"".join(map(encode_point, (*u, *v))) + p.payloads[at])
    m = total(weights(p.context(), base, public, list(map(encode_point, inputs)), outputs), inputs)
    return b"TNEW" + p.header + p.lengths + p.seal + b"".join(rows) + prove(p.context(), base, public, k, scalar(d["nonce"]), m)


def open_parcel(d):
    p, y = Parcel(b"TNEW", bytes.fromhex(d["open_parcel"])), scalar(d["key"])
    base, public = bytes.fromhex(d["base"]), bytes.fromhex(d["public"])
    inputs = [u for row in p.points for u in row[:2]]
    outputs = [v for row in p.points for v in row[2:]]
    w = weights(p.context(), base, public, inputs, outputs)
    if not verify(p.context(), base, public, total(w, map(element, inputs)), total(w, map(element, outputs)), p.proof):
        raise ValueError("the proof does not hold")
    tokens = [encode_point(add(element(v2), opposite(multiply(y, element(v1))))) for _, _, v1, v2 in p.points]
    return {"tokens": [None if t == bytes(32) else t.hex() for t in tokens], "payloads": [x.hex() for x in p.payloads]}


for line in sys.stdin:
    asked = json.loads(line)
    if "encode" in asked:
        result = {"points": [encode_point(encode(n)).hex() for n in asked["encode"]]}
    elif "decode" in asked:
        result = {"numbers": [decode(bytes.fromhex(p)) for p in asked["decode"]]}
    elif "answer" in asked:
        result = {"response": make_answer(asked).hex()}
    elif "finish" in asked:
        try:
            result = {"tokens": finish(asked)}
        except ValueError as why:
            result = {"refused": str(why)}
    elif "parcel" in asked:
        result = {"request": make_parcel(asked).hex()}
    elif "answer_parcel" in asked:
        result = {"answer": answer_parcel(asked).hex()}
    elif "open" in asked or "verify_opening" in asked:
        try:
            result = open_token(asked) if "open" in asked else verify_opening(asked)
        except ValueError as why:
            result = {"refused": str(why)}
    elif "open_parcel" in asked:
        try:
            result = open_parcel(asked)
        except ValueError as why:
            result = {"refused": str(why)}
    else:
        result = {"request": make_request(asked).hex()}
    print(json.dumps(result), flush=True)
