"""A region's answers and its tables, a second time and slowly, from docs/formats.md.

Reads one JSON request a line and answers with one a line:
  {"op": "check" | "route", "question", "answer", "public"}   is the signature right? -> {"message", "right"}
  {"op": "table", "path"}                                      -> {"scheme", "domain_no", "token_epoch", "rows"}
"""

import base64
import hashlib
import json
import struct
import sys
from datetime import date, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def lp(*parts):
    return b"".join(struct.pack(">H", len(p)) + p for p in parts)


def jcs(members):
    """RFC 8785 for what is here: ASCII text and whole numbers."""
    return json.dumps(members, sort_keys=True, separators=(",", ":")).encode()


def check(question, answer):
    envelope = answer.get("envelope")
    digest = ""
    if envelope:
        batch, enc, sealed = (base64.b64decode(envelope[m]) for m in ("batch", "enc", "sealed"))
        digest = hashlib.sha256(lp(envelope["key"].encode(), batch, enc, struct.pack(">I", envelope["index"]), sealed)).hexdigest()
    return lp(b"tarn/relationship/v1", jcs({
        "token": question["token"], "organisation": question["organisation"], "at": question["at"], "request_hash": question["request_hash"],
        "decision": answer["decision"], "expires": answer["expires"], "envelope_sha256": digest,
    }))


def route(question, answer):
    routes = b"".join(lp(t.encode(), (o or "").encode()) for t, o in zip(question["tokens"], answer["organisations"], strict=True))
    return lp(b"tarn/relationship-route/v1", jcs({
        "at": question["at"], "count": len(question["tokens"]), "expires": answer["expires"], "request_hash": question["request_hash"],
        "routes_sha256": hashlib.sha256(routes).hexdigest(),
    }))


def table(path):
    with open(path, "rb") as f:
        content = f.read()
    magic, scheme, domain, epoch, rows, block_rows, blocks, index_digest = struct.unpack(">8sBIHQII32s", content[-63:])
    assert magic == content[:8] == b"TARNREL1"
    index = content[8 + 51 * rows:-63]
    assert len(index) == 75 * blocks and hashlib.sha256(index).digest() == index_digest
    found, before = [], b""
    for block in range(blocks):
        entry = index[75 * block:][:75]
        inside = content[8 + 51 * block_rows * block:8 + 51 * min(rows, block_rows * (block + 1))]
        assert entry[:43] == inside[:43] and entry[43:] == hashlib.sha256(inside).digest()
        for at in range(0, len(inside), 51):
            row = inside[at:at + 51]
            assert before < row
            before = row
            token, kind, organisation, start, end = struct.unpack(">32sB10sII", row)
            found.append({
                "token": token.hex(), "relationship": ["registered", "other"][kind], "organisation": organisation.rstrip(b"\0").decode(),
                "from": str(date(1, 1, 1) + timedelta(days=start)), "to": "" if end == 0xFFFFFFFF else str(date(1, 1, 1) + timedelta(days=end)),
            })
    return {"scheme": scheme, "domain_no": domain, "token_epoch": epoch, "rows": found, "digest": hashlib.sha256(content[-63:]).hexdigest()}


for line in sys.stdin:
    request = json.loads(line)
    if request["op"] == "table":
        answer = table(request["path"])
    else:
        message = {"check": check, "route": route}[request["op"]](request["question"], request["answer"])
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(request["public"])).verify(base64.b64decode(request["answer"]["signature"]), message)
            answer = {"message": message.hex(), "right": True}
        except InvalidSignature:
            answer = {"message": message.hex(), "right": False}
    print(json.dumps(answer), flush=True)
