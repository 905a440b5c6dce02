"""The canonical form of a request for re-identification, a second time, from specification (i).

Reads one JSON request a line and answers with one a line:
  {"op": "request", "request": {..}, "tokens", "references", "salt", "code", "text"}  -> {"commitment", "hash"}
  {"op": "digits"}                                    -> {"digits": [[code point, value], ..]}, of every script
  {"op": "number", "text"}       -> {"holds": may the text, as ASCII digits and what stands between, name a patient?}
"""

import hashlib
import json
import re
import struct
import sys
import unicodedata


def lp(*parts):
    return b"".join(struct.pack(">H", len(p)) + p for p in parts)


def jcs(members):
    """RFC 8785 for what is here: members of ASCII names, text and whole numbers."""
    return json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def request(asked):
    commitment = hashlib.sha256(lp(bytes.fromhex(asked["salt"]), (asked["code"] + "\n" + asked["text"]).encode())).hexdigest()
    form = dict(asked["request"], reason_commit=commitment, tokens=sorted(asked["tokens"]), v=1)
    if asked.get("references"):
        form["references"] = sorted(asked["references"], key=lambda r: r["source_dataset"] + "/" + r["unique_id"])
    return {"commitment": commitment, "hash": hashlib.sha256(b"tarn/reid-request/v1\x00" + jcs(form)).hexdigest()}


def digits(_):
    return {"digits": [[c, unicodedata.digit(chr(c))] for c in range(0x110000) if unicodedata.category(chr(c)) == "Nd"]}


def number(asked):
    for found in re.finditer(r"(?=((?:[0-9][-_., /]*){10}))", asked["text"]):
        ten = [int(c) for c in found.group(1) if c.isdigit()]
        check = 11 - sum((10 - i) * d for i, d in enumerate(ten[:9])) % 11
        if check % 11 == ten[9] and check != 10:
            return {"holds": True}
    return {"holds": False}


for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps({"request": request, "digits": digits, "number": number}[asked["op"]](asked)), flush=True)
