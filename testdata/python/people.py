"""Hooks with which schemathesis asks the key holder who patients are: what no schema can
say, such as that a token is one that was made, is filled in where something valid stands.
What is wrong stays as it is.

TARN_PEOPLE is a JSON object: {"project", "organisation", "tokens", and where the run is
about one request, "request" and "request_hash"}.
"""

import json
import os
import re
import uuid

import schemathesis

GIVEN = json.loads(os.environ["TARN_PEOPLE"])

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
ODS = re.compile(r"[A-Z0-9]{3,10}")
TOKEN = re.compile(r"(tarn1[qpzry9x8gf2tvdw0s3jn54khce6mua7l]{69})|(TARN1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{69})")
HASH = re.compile(r"[0-9a-f]{64}")
ID = re.compile(r"[0-9a-f]{32}")
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

# Of every few texts one stays as it was drawn.
LEFT = 3
MIN_REASON, MAX_REASON = 10, 500


def fill(body, member, pattern, value):
    if value is not None and isinstance(body.get(member), str) and pattern.fullmatch(body[member]):
        body[member] = value


def number(items):
    """Each patient once, and each row, as far as there are so many."""
    tokens = iter(GIVEN["tokens"])
    for row, item in enumerate(items):
        if not isinstance(item, dict):
            continue
        fill(item, "token", TOKEN, next(tokens, None))
        if isinstance(item.get("row"), int) and not isinstance(item["row"], bool) and 0 <= item["row"] <= 10**9:
            item["row"] = row


def reason(given):
    text = given.get("text")
    if isinstance(text, str) and MIN_REASON <= len(text) <= MAX_REASON and len(text) % LEFT:
        given["text"] = "Called back about a blood result."


@schemathesis.hook
def before_call(context, case, kwargs):
    where = case.path_parameters
    if where and "request" in GIVEN and isinstance(where.get("request"), str) and ID.fullmatch(where["request"]):
        where["request"] = GIVEN["request"]
    body = case.body
    if not isinstance(body, dict):
        return
    sent = (case.headers or {}).get("X-Request-ID")
    if isinstance(sent, str) and UUID.fullmatch(sent):  # one for each body: with another body it would be refused
        case.headers["X-Request-ID"] = str(uuid.uuid5(uuid.NAMESPACE_OID, repr(body)))
    fill(body, "project", NAME, GIVEN["project"])
    fill(body, "organisation", ODS, GIVEN["organisation"])
    fill(body, "token", TOKEN, GIVEN["tokens"][0])
    fill(body, "request_hash", HASH, GIVEN.get("request_hash"))
    if isinstance(body.get("items"), list) and len(body["items"]) <= len(GIVEN["tokens"]):
        number(body["items"])
    if isinstance(body.get("reason"), dict):
        reason(body["reason"])
