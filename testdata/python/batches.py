"""Hooks with which schemathesis sends batches of points to the key holder, in place of
octets of which it knows nothing: specification (h), of which oblivious.py has the group.

TARN_BATCHES is a JSON object: of each operationId what the header of its batches says,
{"op", "domain_no", "token_epoch", "to_domain_no", "to_epoch"}.
"""

import json
import os
import sys
import uuid

import schemathesis
from hypothesis import strategies as st

sys.path.insert(0, os.path.dirname(__file__))
import oblivious  # noqa: E402 the folder of this file is not otherwise looked into

ADDRESSES = json.loads(os.environ["TARN_BATCHES"])

# What is right depends on the path and on X-Request-ID, which are drawn apart: it is
# left open, and filled in when the request is sent.
OPEN = 0xFF
OPEN_NUMBER, OPEN_ID = bytes([OPEN] * 4), bytes([OPEN] * 16)
NUMBERS = ("domain_no", "token_epoch", "to_domain_no", "to_epoch")


def points(n):
    multiple, encoded = oblivious.GENERATOR, []
    for _ in range(n):
        encoded.append(oblivious.encode_point(multiple))
        multiple = oblivious.add(multiple, oblivious.GENERATOR)
    return encoded


def little(n):
    return n.to_bytes(32, "little")


POINTS = points(40)
# Of the right length, and no elements: the identity, numbers that are not below the
# prime, a negative one, no square, a bit beyond the number, and what differs from an
# element in one bit.
NO_POINTS = [bytes(32), little(oblivious.P), little(oblivious.P + 2), little(1), little(oblivious.P - 1), bytes([OPEN] * 32)]
NO_POINTS += [b for b in (bytes([p[0] ^ 2]) + p[1:] for p in POINTS) if oblivious.decode_point(b) is None]
NO_POINTS += [POINTS[0][:31] + bytes([POINTS[0][31] | 0x80])]
assert all(oblivious.decode_point(p) for p in POINTS)
assert not any(oblivious.decode_point(p) for p in NO_POINTS[1:])

WHOLE = "nothing"
WRONG = ("element", "length", "count", "magic", "version", "operation", "reserved", "number", "request id")


@st.composite
def batches(draw):
    """A batch that is whole in six cases of ten, and else wrong in one way."""
    elements = draw(st.lists(st.sampled_from(POINTS), min_size=1, max_size=9)) * draw(st.sampled_from([1, 1, 1, 30]))
    wrong = draw(st.one_of(st.just(WHOLE), st.just(WHOLE), st.sampled_from((WHOLE,) + WRONG)))
    if wrong == "element":
        elements[draw(st.integers(0, len(elements) - 1))] = draw(st.one_of(st.sampled_from(NO_POINTS), st.binary(min_size=32, max_size=32)))
    magic, version = b"TNEV", 1
    operation, reserved = OPEN, bytes(2)
    numbers, request_id, n = [OPEN_NUMBER] * 4, OPEN_ID, len(elements)
    if wrong == "magic":
        magic = draw(st.sampled_from([b"TNEW", b"tnev", bytes(4)]))
    elif wrong == "version":
        version = draw(st.sampled_from([0, 2, 255]))
    elif wrong == "operation":
        operation = draw(st.integers(0, 6))
    elif wrong == "reserved":
        reserved = draw(st.sampled_from([b"\0\1", b"\1\0"]))
    elif wrong == "number":
        numbers[draw(st.integers(0, 3))] = draw(st.sampled_from([0, 1, 2, 3, 2**31])).to_bytes(4, "big")
    elif wrong == "request id":
        request_id = draw(st.binary(min_size=16, max_size=16))
    elif wrong == "count":
        n = draw(st.sampled_from([0, n - 1, n + 1, 16384, 16385, 2**32 - 1]))
    batch = magic + bytes([version, operation]) + reserved + b"".join(numbers) + request_id + n.to_bytes(4, "big") + b"".join(elements)
    if wrong == "length":
        batch = draw(st.sampled_from([batch[:-1], batch + b"\0", batch[:44], batch[:43], batch[:-32], b""]))
    return batch


def addressed(batch, address, request_id):
    """The batch with what was left open."""
    operation = address["op"] if batch[5] == OPEN else batch[5]
    filled = batch[:5] + bytes([operation]) + batch[6:8]
    for i, name in enumerate(NUMBERS):
        number = batch[8 + 4 * i:12 + 4 * i]
        filled += address[name].to_bytes(4, "big") if number == OPEN_NUMBER else number
    filled += request_id if batch[24:40] == OPEN_ID else batch[24:40]
    return filled + batch[40:]


@schemathesis.hook
def before_call(context, case, kwargs):
    address = ADDRESSES.get(context.operation.definition.raw.get("operationId"))
    if address is None or not isinstance(case.body, bytes) or len(case.body) < 44:
        return
    try:
        request_id = uuid.UUID((case.headers or {}).get("X-Request-ID", "")).bytes
    except ValueError:  # a header that is missing, or is not as it should be
        request_id = bytes(16)
    case.body = addressed(case.body, address, request_id)


schemathesis.openapi.media_type("application/octet-stream", batches())
