"""Hooks with which schemathesis sends rows to the tokenise service in the three forms that
are no JSON, in place of texts and octets of which it knows nothing, and holds what comes
back to what was sent: as many rows, of the right form.

TARN_ANSWERS is a file to which a line is added for each answer: form, status, rows.
"""

import csv
import io
import json
import os
import uuid

import pyarrow
import pyarrow.ipc
import schemathesis
from hypothesis import strategies as st

FIELDS = ["unique_id", "nhs_number", "given_name", "other_given_names", "family_name", "previous_family_name", "date_of_birth", "sex", "postcode", "gp_practice_code"]
NDJSON, CSV, ARROW = "application/x-ndjson", "text/csv", "application/vnd.apache.arrow.stream"

# A surrogate is no text: how it is written depends on who writes it.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = {
    "nhs_number": ["999 000 0018", "9990000026", "1", ""],
    "date_of_birth": ["1973-11-29", "29/11/1973", "1900-01-01", "rubbish"],
    "sex": ["1", "F", "9", "x"],
    "postcode": ["SW1A 2AA", "ZZ99 3VZ", "x"],
    "gp_practice_code": ["Y00001", "?"],
}


@st.composite
def rows(draw):
    names = ["unique_id"] + draw(st.lists(st.sampled_from(FIELDS[1:]), unique=True, max_size=6))
    value = {name: st.one_of(st.sampled_from(VALUES[name]), TEXT) if name in VALUES else TEXT for name in names}
    return names, draw(st.lists(st.fixed_dictionaries(value), min_size=1, max_size=8))


def lines(names, table):
    return "".join(json.dumps(row, ensure_ascii=len(table) % 2 == 0) + "\n" for row in table).encode()


def delimited(names, table):
    out = io.StringIO()
    writer = csv.DictWriter(out, names, quoting=csv.QUOTE_ALL, lineterminator="\r\n" if len(table) % 2 else "\n")
    writer.writeheader()
    writer.writerows(table)
    return out.getvalue().encode()


def stream(names, table):
    out = io.BytesIO()
    whole = pyarrow.Table.from_pylist(table, pyarrow.schema([(name, pyarrow.string()) for name in names]))
    with pyarrow.ipc.new_stream(out, whole.schema) as writer:
        writer.write_table(whole, max_chunksize=3)
    return out.getvalue()


WRITERS = {NDJSON: lines, CSV: delimited, ARROW: stream}
SENT = {}  # of whole bodies the number of their rows


@st.composite
def bodies(draw, form):
    """Whole in two cases of three, and else wrong in one way."""
    names, table = draw(rows())
    body = WRITERS[form](names, table)
    wrong = draw(st.sampled_from(["nothing"] * 10 + ["cut", "byte", "column", "more", "nothing at all"]))
    if wrong == "nothing":
        SENT[body] = len(table)
    elif wrong == "cut":
        body = body[: draw(st.integers(0, len(body)))]
    elif wrong == "byte":
        at = draw(st.integers(0, len(body) - 1))
        body = body[:at] + bytes([draw(st.integers(0, 255))]) + body[at + 1:]
    elif wrong == "column":
        body = WRITERS[form](names + ["nhsnumber"], [dict(row, nhsnumber="1") for row in table])
    elif wrong == "more":
        body += draw(st.binary(min_size=1, max_size=20))
    else:
        body = b""
    return body


def rows_of(form, content):
    if form == "application/json":
        return len(json.loads(content)["rows"])
    if form == NDJSON:
        return len([json.loads(line) for line in content.splitlines()])
    if form == CSV:
        return len(list(csv.DictReader(io.StringIO(content.decode(), newline=""))))
    return pyarrow.ipc.open_stream(content).read_all().num_rows


CALLS = iter(range(1 << 62))


@schemathesis.hook
def before_call(context, case, kwargs):
    """Ids are drawn, and often the same: most requests get one of their own."""
    call = next(CALLS)
    try:
        uuid.UUID((case.headers or {}).get("X-Request-ID", ""))
    except ValueError:  # one that is missing, or is not as it should be
        return
    if call % 8:
        case.headers["X-Request-ID"] = str(uuid.uuid4())


@schemathesis.check
def rows_are_answered(ctx, response, case):
    """A 200 has a row for each that was sent, and says so; what was whole is answered."""
    if case.operation.definition.raw.get("operationId") != "tokenise":
        return
    form, rows = (case.media_type or "").split(";")[0], -1
    if response.status_code == 200:
        rows = rows_of(response.headers["content-type"][0].split(";")[0], response.content)
        said = int(response.headers["tarn-rows-ok"][0]) + int(response.headers["tarn-rows-refused"][0])
        assert rows == said, "the headers count other rows than the answer has"
    if isinstance(case.body, bytes) and case.body in SENT and response.status_code == 200:
        assert rows == SENT[case.body], "another number of rows came back"
    if isinstance(case.body, bytes) and case.body in SENT:
        assert response.status_code not in (413, 422), "whole rows were refused"
    with open(os.environ["TARN_ANSWERS"], "a") as file:
        file.write(f"{form} {response.status_code} {rows}\n")


@schemathesis.serializer(NDJSON, CSV, ARROW)
def as_it_is(context, value):
    return {"data": value if isinstance(value, bytes) else str(value).encode(errors="replace")}


for FORM in WRITERS:
    schemathesis.openapi.media_type(FORM, bodies(FORM))
