#!/usr/bin/env python3
"""Send people's rows to a tokeniser and get tokens and encodings back.

One file, Python 3.9 or later, nothing but the standard library: copy it.

    from tarn_tokenise import Client

    rows = [{"unique_id": "r1", "nhs_number": "9434765919", "date_of_birth": "1973-11-29"}]
    with Client("https://localhost:8443", "first-tokens", ca="tls/ca.pem", cert="tls/etl.pem", key="tls/etl.key") as client:
        for answer in client.tokenise(rows):
            print(answer["unique_id"], answer["status"], answer.get("nhs_token"))

or, from a shell: python3 tarn_tokenise.py --help

What it promises:

* Answers come in the order of the rows, one for each, and the client holds no more than a
  few batches in memory, however many rows there are.
* A batch that was not answered (no connection, one that broke, a time-out, 408, 429, 5xx) is
  sent again with the same X-Request-ID, after a random wait that grows and is never shorter
  than the service asks for. The service answers it the same and charges it once. What the
  service refuses for good is not sent again.
* All answers of one call were made with the same keys; otherwise it ends with an error.
* No error, and nothing on standard error, holds a value of a row. Nothing is logged.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import csv
import datetime
import email.utils
import http.client
import io
import json
import numbers
import os
import queue
import random
import signal
import socket
import ssl
import sys
import threading
import time
import urllib.parse
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, TextIO, Tuple

try:
    import fcntl
except ImportError:  # not on Windows: there, see to it that a file is written by one run at a time
    fcntl = None  # type: ignore[assignment]

__all__ = ["Answered", "Client", "FIELDS", "Result", "TarnError"]

FIELDS = (
    "unique_id", "nhs_number", "given_name", "other_given_names", "family_name",
    "previous_family_name", "date_of_birth", "sex", "postcode", "gp_practice_code",
)
"""What a row may have. unique_id is your own reference: it is echoed, and kept nowhere."""

RETURNS = ("token", "encodings")

# Exit codes, as of Tarn's other commands.
INTERNAL, USAGE, ROWS_REFUSED, POLICY, UNAVAILABLE, DISAGREEMENT = 1, 2, 3, 4, 5, 6

_NDJSON, _CSV = "application/x-ndjson", "text/csv"
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 30.0  # seconds, of waits before the random part is drawn
_LONGEST_PATIENCE = 20 * 3600.0  # seconds; the service knows a request again for 24 hours
_ANSWER_READ = 1 << 16  # bytes
_KEYS = ("Tarn-Token-Epoch", "Tarn-Encoding-Epoch", "Tarn-Profile-Digest", "Tarn-Key-Check", "Tarn-Encoding-Key-Check")
_NEVER = {"budget_smaller_than_request"}  # 429 that no waiting helps
_ANEW = "begin again with the first row (of a file: remove what ends in .partial and .partial.json)"


class TarnError(Exception):
    """What went wrong and what to do next; never a value of a row.

    code is the service's (see its documentation) or the client's own; status is the HTTP
    status or None; exit_code is what a command ends with.
    """

    def __init__(self, detail: str, next: str = "", *, code: str = "usage", exit_code: int = USAGE,
                 status: Optional[int] = None, request_id: Optional[str] = None, retry_after: Optional[float] = None):
        super().__init__(detail, next)
        self.detail, self.next, self.code, self.exit_code = detail, next, code, exit_code
        self.status, self.request_id, self.retry_after = status, request_id, retry_after

    def __str__(self) -> str:
        text = self.detail + ("; " + self.next if self.next else "")
        about = [self.code] if self.status else []
        if self.retry_after:
            about.append("again in %d s" % self.retry_after)
        if self.request_id:
            about.append("request " + self.request_id)
        return text + (" (" + ", ".join(about) + ")" if about else "")


class Answered(NamedTuple):
    """One request's answer, as it came."""

    body: bytes
    headers: Mapping[str, str]


class Result(NamedTuple):
    """What became of a file."""

    rows: int
    ok: int
    refused: int
    codes: Dict[str, int]  # why rows were refused, and how many of them
    budget_remaining: Optional[int]  # rows; None where nothing was asked
    resumed: int  # rows that an earlier call had answered
    warned: Dict[str, int]  # fields that were not used, with why, and in how many rows


class _Again(Exception):
    """A try that failed and may be repeated."""

    def __init__(self, error: TarnError, soon: bool = False):
        super().__init__()
        self.error, self.soon = error, soon


class Client:
    """Calls one project of one tokeniser. It may be used by several threads.

    url          https://host:port
    ca           PEM file of the authority that signed the service's certificate
    cert, key    PEM files that say who calls
    connections  how many batches are under way at once, each on its own connection
    timeout      seconds for one try, from sending to the end of the answer; the service
                 itself takes three times its [limits] timeout at most, 30 s by default
    patience     seconds for all tries of one batch; after that it is given up
    on_retry     called with (error, seconds until the next try), to show somebody
    """

    def __init__(self, url: str, project: str, ca: str, cert: str, key: str, *, connections: int = 1, timeout: float = 40.0,
                 patience: float = 600.0, on_retry: Optional[Callable[[TarnError, float], None]] = None):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "https" or not parts.hostname or parts.path.strip("/") or parts.query:
            raise TarnError("the url is not of the form https://host:port", "give the tokeniser's address")
        if connections < 1 or timeout <= 0 or not 0 <= patience <= _LONGEST_PATIENCE:
            raise TarnError("connections, timeout or patience is out of range", "connections from 1, timeout above 0, patience up to 20 hours: after 24 the service has forgotten the request")
        try:
            context = ssl.create_default_context(cafile=ca)
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.load_cert_chain(cert, key)
        except OSError as e:  # ssl.SSLError is one
            what = "not PEM, or the key is another's" if isinstance(e, ssl.SSLError) else e.strerror or "they cannot be read"
            raise TarnError("the certificates cannot be used: " + what,
                            "give the PEM files of the authority, of your certificate and of its key") from None
        self._host, self._port, self._tls = parts.hostname, parts.port or 443, context
        self._path = "/v1/projects/" + urllib.parse.quote(project, safe="")
        self._connections, self._timeout, self._patience, self._on_retry = connections, timeout, patience, on_retry
        self._idle: "queue.LifoQueue[http.client.HTTPSConnection]" = queue.LifoQueue()
        self._busy: Set[http.client.HTTPSConnection] = set()
        self._closing = threading.Event()
        self._random = random.SystemRandom().uniform
        self._limits: Optional[Dict[str, Any]] = None

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; tries of other threads end at once."""
        self._closing.set()
        for connection in list(self._busy):
            with contextlib.suppress(OSError, AttributeError):  # it is ending by itself
                connection.sock.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    # Calls

    def project(self) -> Dict[str, Any]:
        """Returns the project's epochs, key check values, limits and what is left of the budget."""
        return json.loads(self._call("GET", self._path, None, {}).body)

    def send(self, rows: Sequence[Mapping[str, Any]], returns: Sequence[str] = RETURNS, request_id: Optional[str] = None) -> Tuple[List[Dict[str, Any]], Mapping[str, str]]:
        """Sends one request, and returns its answers and the answer's headers.

        Keep the request_id (a UUID) with the rows before you call where they may have to be
        sent again by another process: within 24 hours the same rows under the same id get the
        same answer and are charged once.
        """
        batch = _Batch(request_id or str(uuid.uuid4()), [_row(r) for r in rows])
        answered = self._ask(batch, _NDJSON, returns)
        return [json.loads(line) for line in answered.body.splitlines()], answered.headers

    def tokenise(self, rows: Iterable[Mapping[str, Any]], *, batch: int = 1000, returns: Sequence[str] = RETURNS) -> Iterator[Dict[str, Any]]:
        """Yields an answer for each row, in order, as the service's NDJSON has them:

        {"unique_id", "status": "ok", "nhs_token", "encodings": {..}, "tags": {..}, "warnings"} or
        {"unique_id", "status": "refused", "errors": [{"field", "code"}]}.

        Rows are read as answers are taken, no more than 2 x connections batches ahead.
        """
        for _, answered in self._batches(((_row(r), None) for r in rows), _NDJSON, batch, returns, lambda _: str(uuid.uuid4())):
            for line in answered.body.splitlines():
                yield json.loads(line)

    def tokenise_file(self, source: str, target: str, *, columns: Optional[Mapping[str, str]] = None, batch: int = 1000, returns: Sequence[str] = RETURNS,
                      number_rows: bool = False, delimiter: str = ",", encoding: str = "utf-8-sig", progress: Optional[Callable[[int, float], None]] = None) -> Result:
        """Answers a CSV or NDJSON file into a CSV or NDJSON file; the ending .ndjson or .jsonl
        says which. "-" is standard input or output.

        columns maps names of the file to names of FIELDS; columns that have such a name need no
        map, and no others leave this machine. number_rows numbers the rows where the file has no
        unique_id. progress is called with the rows and the part of the file that are done.

        The target appears under its name when it is complete, readable by its owner only. Until
        then TARGET.partial has what was answered, and TARGET.partial.json where it goes on: call
        it again after an interruption, within a day, and no answered row is charged again.
        """
        with contextlib.ExitStack() as files:
            reader = _Reader(files, source, dict(columns or {}), number_rows, delimiter, encoding)
            limits = self._known_limits()
            settings = {"columns": reader.columns, "returns": sorted(returns), "batch": min(batch, limits["max_rows"]), "max_body": limits["max_body"], "csv": _is_csv(target),
                        "url_path": self._path, "number_rows": number_rows}
            out = _Output(target, source, settings)
            files.callback(out.close)
            out.open()
            tally = _Tally(out.state)
            resumed = tally.rows
            rows = reader.rows(skip=tally.rows)
            for chunk, answered in self._batches(rows, _CSV if out.csv else _NDJSON, batch, returns, out.request_id, out.state["keys"], out.state["batches"]):
                out.state["keys"] = [answered.headers.get(h) for h in _KEYS]
                body = answered.body
                tally.add(answered, out.csv)
                if out.csv and out.state["batches"]:
                    body = body[body.index(b"\n") + 1:]  # one header is enough
                out.write(body, tally)
                if progress:
                    progress(tally.rows, chunk.position)
            if out.csv and not out.state["batches"]:
                out.empty(self._ask(_Batch(str(uuid.uuid4()), []), _CSV, returns).body)
            out.complete()
            return Result(tally.rows, tally.ok, tally.refused, dict(tally.codes), tally.budget, resumed, dict(tally.warned))

    # Batches

    def _known_limits(self) -> Dict[str, Any]:
        if self._limits is None:
            self._limits = self.project()["limits"]
        return self._limits

    def _batches(self, rows: Iterable[Tuple[bytes, Any]], accept: str, size: int, returns: Sequence[str], request_id: Callable[[int], str],
                 keys: Optional[List[Optional[str]]] = None, first: int = 0) -> Iterator[Tuple["_Batch", Answered]]:
        """Yields each batch with its answer, in order, all made with the same keys."""
        limits = self._known_limits()
        chunks = _chunks(rows, min(size, limits["max_rows"]), limits["max_body"], request_id, first)
        pool: Optional[ThreadPoolExecutor] = None
        waiting: "collections.deque[Tuple[_Batch, Future[Answered]]]" = collections.deque()
        try:
            if self._connections == 1:
                pairs: Iterator[Tuple[_Batch, Answered]] = ((c, self._ask(c, accept, returns)) for c in chunks)
            else:
                pool = ThreadPoolExecutor(self._connections, "tarn")
                pairs = self._several(pool, waiting, chunks, accept, returns)
            for chunk, answered in pairs:
                now = [answered.headers.get(h) for h in _KEYS]
                if keys is not None and keys != now:
                    raise TarnError("the keys were replaced by those of another epoch, and answers of both would not fit together",
                                    _ANEW, code="keys_changed", exit_code=DISAGREEMENT)
                keys = now
                yield chunk, answered
        finally:
            for _, f in waiting:
                f.cancel()
            if pool:
                pool.shutdown(wait=False)

    def _several(self, pool: ThreadPoolExecutor, waiting: "collections.deque[Tuple[_Batch, Future[Answered]]]", chunks: Iterator["_Batch"],
                 accept: str, returns: Sequence[str]) -> Iterator[Tuple["_Batch", Answered]]:
        for chunk in chunks:
            waiting.append((chunk, pool.submit(self._ask, chunk, accept, returns)))
            if len(waiting) >= 2 * self._connections:
                yield self._first(waiting)
        while waiting:
            yield self._first(waiting)

    @staticmethod
    def _first(waiting: "collections.deque[Tuple[_Batch, Future[Answered]]]") -> Tuple["_Batch", Answered]:
        chunk, future = waiting.popleft()
        return chunk, future.result()

    def _ask(self, batch: "_Batch", accept: str, returns: Sequence[str]) -> Answered:
        if not returns or not set(returns) <= set(RETURNS):
            raise TarnError("what is asked for is neither token nor encodings, nor both", "ask for one or both")
        answered = self._call("POST", self._path + "/tokenise?return=" + ",".join(returns), b"".join(batch.rows),
                              {"Content-Type": _NDJSON, "Accept": accept, "X-Request-ID": batch.request_id}, batch.request_id)
        _check(batch, answered.body, accept)
        return answered

    # Requests

    def _call(self, verb: str, path: str, body: Optional[bytes], headers: Dict[str, str], request_id: Optional[str] = None) -> Answered:
        """Tries a request until it is answered, refused for good, or patience ends."""
        until, tries = time.monotonic() + self._patience, 0
        while True:
            try:
                return self._try(verb, path, body, headers, request_id)
            except _Again as e:
                again = e
            # Full jitter: whatever made many clients fail at one time, they do not come back at one time.
            wait = 0.0 if again.soon else self._random(0, min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(tries, 20))) + (again.error.retry_after or 0)
            tries += not again.soon
            if time.monotonic() + wait > until:
                raise again.error
            if self._on_retry and not again.soon:
                self._on_retry(again.error, wait)
            if self._closing.wait(wait):
                raise again.error

    def _try(self, verb: str, path: str, body: Optional[bytes], headers: Dict[str, str], request_id: Optional[str]) -> Answered:
        """One try. The connection goes back to the others when its answer was read to the end."""
        if self._closing.is_set():
            raise TarnError("the client is closed", "make another", code="closed")
        try:
            connection, used = self._idle.get_nowait(), True
        except queue.Empty:
            connection, used = http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls), False
        until = time.monotonic() + self._timeout
        read = False
        self._busy.add(connection)
        try:
            if connection.sock is not None:
                connection.sock.settimeout(self._timeout)
            try:
                connection.request(verb, path, body, {"User-Agent": "tarn-tokenise-python/1", **headers})
            except (BrokenPipeError, ConnectionResetError):
                if connection.sock is None:
                    raise
                # A refusal may have come before all was sent.
            sock = connection.sock  # the answer may take it away
            response = connection.getresponse()
            data = _read(response, sock, until)
            read = True
        except ssl.SSLCertVerificationError as e:
            raise TarnError("the service's certificate is not the authority's, or not for this host: " + (e.verify_message or "refused"),
                            "give the right ca, and call the service by a name that is in its certificate", code="certificate", exit_code=UNAVAILABLE) from None
        except http.client.ImproperConnectionState:
            raise  # the service has no part in it
        except (OSError, http.client.HTTPException) as e:
            # The message of some holds what was sent: only what kind it is is told. A connection
            # that was kept may have been closed meanwhile, which says nothing of the service.
            what = "it took longer than %g s" % self._timeout if isinstance(e, TimeoutError) or type(e).__name__ == "timeout" else type(e).__name__
            if isinstance(e, OSError) and e.strerror and not isinstance(e, (TimeoutError, ssl.SSLError)):
                what = e.strerror
            raise _Again(TarnError("the service did not answer: " + what, "look whether it runs and can be reached, then send again",
                                   code="no_answer", exit_code=UNAVAILABLE, request_id=request_id),
                         soon=used and isinstance(e, (ConnectionError, ssl.SSLEOFError, http.client.BadStatusLine))) from None
        finally:
            self._busy.discard(connection)
            if read and not self._closing.is_set():
                self._idle.put(connection)
            else:
                connection.close()
        if response.status == 200:
            return Answered(data, response.headers)
        error = _problem(response, data, request_id)
        if (response.status in (408, 429) or response.status >= 500) and error.code not in _NEVER:
            raise _Again(error)
        raise error


def _read(response: http.client.HTTPResponse, sock: Any, until: float) -> bytes:
    """Reads an answer to its end, however slowly it comes, until its time is over."""
    data = bytearray()
    while True:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError()
        if sock is not None:
            with contextlib.suppress(OSError):  # closed already: the rest is in memory
                sock.settimeout(left)
        some = response.read1(_ANSWER_READ)
        if not some:
            break
        data += some
    if response.length:  # read1 takes an early end for the end
        raise http.client.IncompleteRead(b"", response.length)
    response.close()  # else the connection waits for somebody to read on
    return bytes(data)


def _problem(response: http.client.HTTPResponse, data: bytes, request_id: Optional[str]) -> TarnError:
    """Makes an error of application/problem+json, whose texts hold nothing of a row."""
    status, retry_after = response.status, _retry_after(response.headers.get("Retry-After"))
    try:
        problem = json.loads(data)
        if not str(response.headers.get("Content-Type")).startswith("application/problem+json"):
            raise ValueError
        title, detail, code, next = (str(problem.get(k) or "") for k in ("title", "detail", "code", "next"))
    except (ValueError, AttributeError):  # a proxy's page: it may hold anything
        title, detail, code, next = "status %d, and nothing of the service's" % status, "", "http_%d" % status, "look at what stands between here and the service"
    exit_code = USAGE
    if code == "keys_changed":  # sent again after a rotation: what was answered before is of other keys
        exit_code, next = DISAGREEMENT, _ANEW
    elif status in (401, 403, 429):
        exit_code = POLICY
    elif status >= 500 or status == 408:
        exit_code = UNAVAILABLE
    return TarnError(title + (": " + detail if detail else ""), next, code=code, exit_code=exit_code, status=status, request_id=request_id, retry_after=retry_after)


def _retry_after(text: Optional[str]) -> Optional[float]:
    """Reads Retry-After: seconds, or a date (RFC 9110 section 10.2.3)."""
    if not text:
        return None
    try:
        return max(0.0, float(int(text)))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


# Rows and batches


class _Batch:
    """Rows that are sent in one request: each a line of NDJSON."""

    def __init__(self, request_id: str, rows: List[bytes], position: Any = None):
        self.request_id, self.rows, self.position = request_id, rows, position


def _chunks(rows: Iterable[Tuple[bytes, Any]], size: int, max_body: int, request_id: Callable[[int], str], first: int) -> Iterator[_Batch]:
    """Divides rows into batches of so many rows and bytes."""
    if size < 1:
        raise TarnError("a batch has no row", "give a batch of 1 row or more")
    lines: List[bytes] = []
    length, number, position = 0, first, None
    for line, at in rows:
        if len(line) > max_body:
            raise TarnError("a row is larger than a request may be", "look whether the file's quotes or its delimiter are others", code="request_too_large")
        if lines and (len(lines) == size or length + len(line) > max_body):
            yield _Batch(request_id(number), lines, position)
            lines, length, number = [], 0, number + 1
        lines.append(line)
        length += len(line)
        position = at
    if lines:
        yield _Batch(request_id(number), lines, position)


def _row(row: Mapping[str, Any]) -> bytes:
    """Makes a row's line. What is empty is left out; a member of another name is refused here, by its place."""
    out: Dict[str, str] = {}
    for name, value in row.items():
        if name not in FIELDS:
            raise TarnError("a row has a member that is none of a row's", "give these and no others: " + ", ".join(FIELDS), code="column_unknown")
        if _missing(value):
            continue
        if isinstance(value, datetime.datetime):
            value = value.date()
        if isinstance(value, datetime.date):
            value = value.isoformat()
        elif isinstance(value, bool) or not isinstance(value, (str, numbers.Real)):
            raise TarnError("the member " + name + " of a row is of type " + type(value).__name__, "give a text, a number or a date")
        out[name] = str(value)
    return json.dumps(out, separators=(",", ":")).encode("ascii") + b"\n"


def _missing(value: Any) -> bool:
    """Says whether a value is none: also NaN, NaT and NA, which libraries for tables use for it."""
    try:
        return value is None or value == "" or bool(value != value)
    except TypeError:  # of NA nothing can be said
        return True


_UNREADABLE = b"null\n"
"""A row that cannot be read: the service refuses it with its own code, in its place."""


def _check(batch: _Batch, body: bytes, accept: str) -> None:
    """Holds an answer to the rows that were sent: as many, in their order."""
    sent = [json.loads(line) for line in batch.rows]
    try:
        got = [cells[0] for cells in _cells(body)][1:] if accept == _CSV else [a["unique_id"] for a in map(json.loads, body.splitlines())]
    except (ValueError, KeyError, IndexError, TypeError, csv.Error):
        got = []
    fits = len(sent) == len(got)
    for row, echo in zip(sent, got):
        expected = row.get("unique_id", "") if row else ""
        # Of a reference that is no text something else comes back, or nothing.
        fits = fits and (echo == expected or not _plain(expected))
    if not fits:
        raise TarnError("the answers are not those of the rows that were sent", "report it with the request's id", code="answer_differs", exit_code=INTERNAL, request_id=batch.request_id)


def _plain(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def _cells(body: bytes) -> Iterator[List[str]]:
    return csv.reader(io.StringIO(body.decode("utf-8"), newline=""))


# Files


def _is_csv(path: str) -> bool:
    return not path.lower().endswith((".ndjson", ".jsonl"))


class _Reader:
    """Reads the rows of a file."""

    def __init__(self, files: contextlib.ExitStack, source: str, columns: Dict[str, str], number_rows: bool, delimiter: str, encoding: str):
        self.csv, self.size, self.number_rows = _is_csv(source), 0, number_rows
        for theirs, field in columns.items():
            if field not in FIELDS:
                raise TarnError("a column is mapped to what no row has", "map it to one of " + ", ".join(FIELDS))
        if len(set(columns.values())) < len(columns):
            raise TarnError("two columns are mapped to the same field", "map one of them")
        try:
            self.raw = sys.stdin.buffer if source == "-" else files.enter_context(open(source, "rb"))
            if source != "-":
                self.size = os.fstat(self.raw.fileno()).st_size
            self.text = io.TextIOWrapper(self.raw, encoding=encoding, newline="" if self.csv else "\n")
        except (OSError, LookupError) as e:
            raise TarnError("the input cannot be opened: " + (getattr(e, "strerror", None) or "there is no such encoding"), "name a file that can be read") from None
        self.map, self.columns = columns, columns
        if self.csv:
            try:
                self.table = csv.reader(self.text, delimiter=delimiter, strict=True)
                header = next(self.table)
            except StopIteration:
                raise TarnError("the input has no header row", "give the names of its columns in its first row") from None
            except UnicodeDecodeError:  # its text holds what stands there
                raise TarnError("the input is not of the encoding", "give the file's encoding") from None
            except (csv.Error, TypeError):
                raise TarnError("the first row of the input cannot be read", "give the file's delimiter, one character") from None
            self.fields = self._fields([h.strip() for h in header])

    def _fields(self, header: List[str]) -> List[Optional[str]]:
        for theirs, field in self.map.items():
            if header.count(theirs) != 1:
                raise TarnError("the column that is mapped to " + field + " is not in the input's first row, or is there twice",
                                "write it as it is there; the delimiter is a comma unless you say otherwise")
        fields = [self.map.get(h) or (h.lower() if h.lower() in FIELDS and h.lower() not in self.map.values() else None) for h in header]
        known = [f for f in fields if f]
        if len(set(known)) < len(known):
            raise TarnError("two columns of the input are the same field", "map the one that is meant")
        if "unique_id" not in known and not self.number_rows:
            raise TarnError("no column of the input is unique_id", "map the column with your own reference of a row, or have the rows numbered")
        if not set(known) - {"unique_id"}:
            raise TarnError("no column of the input is one of a row", "map your columns to " + ", ".join(FIELDS[1:]))
        self.columns = {h: f for h, f in zip(header, fields) if f}
        return fields

    def rows(self, skip: int) -> Iterator[Tuple[bytes, float]]:
        """Yields each row's line and the part of the file that was read, without the first rows."""
        number = 0
        records = self._table() if self.csv else self._lines()
        while True:
            try:
                row = next(records, None)
            except UnicodeDecodeError:
                raise TarnError("row %d of the input, or one near it, is not of the encoding" % (number + 1), "give the file's encoding") from None
            except csv.Error:
                raise TarnError("row %d of the input cannot be read" % (number + 1), "look at its quotes: one may lack its second") from None
            except OSError as e:
                raise TarnError("the input cannot be read: " + (e.strerror or "it failed"), "", exit_code=INTERNAL) from None
            if row is None:
                return
            number += 1
            if number <= skip:
                continue
            if row.bad:
                yield _UNREADABLE, self._part()
                continue
            if self.number_rows:
                row.values["unique_id"] = str(number)
            yield _row(row.values), self._part()

    def _part(self) -> float:
        return self.raw.tell() / self.size if self.size else 0.0

    def _table(self) -> Iterator["_Record"]:
        for cells in self.table:
            if not cells:
                continue  # a blank line is no row
            if len(cells) != len(self.fields):
                yield _Record({}, True)
                continue
            yield _Record({f: c for f, c in zip(self.fields, cells) if f}, False)

    def _lines(self) -> Iterator["_Record"]:
        for line in self.text:
            if not line.strip():
                continue
            try:
                # Numbers stay as they are written.
                row = json.loads(line, parse_int=str, parse_float=str, parse_constant=_refuse, object_pairs_hook=_once)
                if not isinstance(row, dict):
                    raise ValueError
                values = {}
                for name, value in row.items():
                    field = self.map.get(name) or (name if name in FIELDS and name not in self.map.values() else None)
                    if field is None or value is None:
                        continue
                    if isinstance(value, bool) or not isinstance(value, str) or field in values:
                        raise ValueError
                    values[field] = value
                yield _Record(values, False)
            except (ValueError, RecursionError):
                yield _Record({}, True)


class _Record(NamedTuple):
    values: Dict[str, str]
    bad: bool


def _refuse(_: str) -> None:
    raise ValueError


def _once(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError
    return made


class _Tally:
    """Counts answers."""

    def __init__(self, state: Dict[str, Any]):
        self.rows, self.ok, self.refused = state["rows"], state["ok"], state["refused"]
        self.codes: "collections.Counter[str]" = collections.Counter(state["codes"])
        self.warned: "collections.Counter[str]" = collections.Counter(state["warned"])
        self.budget: Optional[int] = None

    def add(self, answered: Answered, is_csv: bool) -> None:
        for cells in list(_cells(answered.body))[1:] if is_csv else map(json.loads, answered.body.splitlines()):
            refused = (cells[1] if is_csv else cells["status"]) == "refused"
            self.rows += 1
            self.refused += refused
            self.ok += not refused
            if is_csv:
                said = cells[-1].split(";") if cells[-1] else []
            else:
                said = [(e["field"] + ":" if e["field"] else "") + e["code"] for e in cells.get("errors", []) + cells.get("warnings", [])]
            for code in said:
                # Reasons of a row are of the row, or of its reference; others are of fields that were not used.
                (self.codes if code.startswith(("row_", "unique_id:")) else self.warned)[code] += 1
        left = answered.headers.get("Tarn-Budget-Remaining")
        self.budget = int(left) if left else None


class _Output:
    """Writes a file that appears when it is complete, and goes on where an earlier call ended.

    Batch n of a run has an id that is made of the run's and n, so that a batch that an earlier
    call had sent, and not kept, is known to the service again.
    """

    def __init__(self, target: str, source: str, settings: Dict[str, Any]):
        self.target, self.csv, self.keeps = target, settings["csv"], target != "-" and source != "-"
        self.partial, self.journal = target + ".partial", target + ".partial.json"
        self.file: Any = None
        self.state: Dict[str, Any] = {"schema": "tarn.python-client/1", "run": str(uuid.uuid4()), "settings": settings, "input": None, "keys": None,
                                      "batches": 0, "rows": 0, "ok": 0, "refused": 0, "codes": {}, "warned": {}, "bytes": 0}
        if source != "-":
            about = os.stat(source)
            self.state["input"] = [about.st_size, about.st_mtime_ns]
        self.done = self.opened = False

    def open(self) -> None:
        """Opens the file, where an earlier call ended if one did."""
        if self.target == "-":
            self.file = sys.stdout.buffer
            return
        try:
            if os.path.exists(self.target) and os.path.getsize(self.target):
                with open(self.target, "rb") as f:
                    if not f.read(32).startswith((b"unique_id,status,", b'{"unique_id":')):
                        raise TarnError("the output is there and is none of this command's", "name another file, or remove it")
            self.file = os.fdopen(os.open(self.partial, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
            self._lock()
            if self.keeps:
                self._resume()
            self.file.truncate(self.state["bytes"])
            self.file.seek(self.state["bytes"])
            if self.keeps:
                self._keep()
            self.opened = True
        except OSError as e:
            raise TarnError("the output cannot be written: " + (e.strerror or "it failed"), "name a file in a folder that is there", exit_code=INTERNAL) from None
        self.kept = time.monotonic()

    def _lock(self) -> None:
        """Makes sure that one run at a time writes the file."""
        if fcntl is None:
            return
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = os.path.samestat(os.fstat(self.file.fileno()), os.stat(self.partial))
        except (BlockingIOError, FileNotFoundError):
            ours = False
        if not ours:
            self.done = True  # what is there is the other one's
            raise TarnError("another run is writing this output", "wait until it ends", exit_code=USAGE)

    def _resume(self) -> None:
        try:
            with open(self.journal, encoding="utf-8") as f:
                earlier = json.load(f)
            fits = earlier["schema"] == self.state["schema"] and os.path.getsize(self.partial) >= earlier["bytes"]
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError):
            fits, earlier = False, {}
        if not fits or earlier.get("settings") != self.state["settings"] or earlier.get("input") != self.state["input"]:
            raise TarnError("an earlier run with this output was interrupted, and its input or settings were others, or it is damaged",
                            "repeat that one; or remove what ends in .partial and .partial.json to begin again", exit_code=DISAGREEMENT)
        self.state = earlier

    def request_id(self, number: int) -> str:
        return str(uuid.uuid5(uuid.UUID(self.state["run"]), str(number)))

    def write(self, body: bytes, tally: _Tally) -> None:
        self._append(body)
        self.state.update(batches=self.state["batches"] + 1, rows=tally.rows, ok=tally.ok, refused=tally.refused, codes=dict(tally.codes), warned=dict(tally.warned), bytes=self.state["bytes"] + len(body))
        # What was answered after it was last kept is asked again with the same ids.
        if self.keeps and time.monotonic() - self.kept > 1:
            self._keep()

    def empty(self, header: bytes) -> None:
        self._append(header)

    def _append(self, body: bytes) -> None:
        try:
            self.file.write(body)
        except OSError as e:
            raise TarnError("the output cannot be written: " + (e.strerror or "it failed"), "make space, and repeat the call: it goes on", exit_code=INTERNAL) from None

    def _keep(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())
        new = self.journal + ".new"
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as f:
            json.dump(self.state, f)
            f.flush()
            os.fsync(f.fileno())
        os.replace(new, self.journal)
        self.kept = time.monotonic()

    def complete(self) -> None:
        try:
            self.file.flush()
            if self.target != "-":
                os.fsync(self.file.fileno())
                self.file.close()
                os.replace(self.partial, self.target)
                with contextlib.suppress(FileNotFoundError):
                    os.remove(self.journal)
        except OSError as e:
            raise TarnError("the output cannot be written: " + (e.strerror or "it failed"), "make space, and repeat the call: it goes on", exit_code=INTERNAL) from None
        self.done = True

    def close(self) -> None:
        """Keeps what was answered, where it is not complete."""
        if self.target == "-" or self.file is None:
            return
        with contextlib.suppress(OSError):
            if self.done:
                self.file.close()
                return
            if self.keeps and self.opened:
                self._keep()
            self.file.close()
            if not self.keeps:
                os.remove(self.partial)


# The command


class _Stopped(BaseException):
    def __init__(self, number: int):
        super().__init__()
        self.number = number


def _stop(number: int, _: Any) -> None:
    raise _Stopped(number)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        # Of the library's messages this one repeats no argument.
        missing = message.startswith("the following arguments are required: ")
        raise TarnError(message if missing else "the command line is not well formed", "see: python3 tarn_tokenise.py --help")


def _arguments() -> argparse.ArgumentParser:
    p = _Parser(prog="tarn_tokenise.py", formatter_class=argparse.RawDescriptionHelpFormatter, description="Have the rows of a CSV or NDJSON file answered by a tokeniser.", epilog="""\
example:
  python3 tarn_tokenise.py --url https://localhost:8443 --project first-tokens \\
    --ca tls/ca.pem --cert tls/etl.pem --key tls/etl.key \\
    --in people.csv --out tokens.csv --map unique_id=LOCAL_ID --map given_name=FORENAME

Columns that are named like a field need no --map; no others leave this machine. The answer
has a line for each row, in order: refused rows too, with their codes. The output appears
when it is complete. Repeat the command after an interruption, within a day: it goes on, and
no row is charged twice.

fields: """ + ", ".join(FIELDS) + """

exit codes: 0 done; 1 a failure of this machine; 2 wrong use, or an input that is not what it
claims to be; 3 more rows refused than --max-refused (the output is there); 4 refused by
policy, or the budget is used up; 5 the service is not available; 6 the keys were replaced
meanwhile, or an earlier run was another; 130 and 143 interrupted""")
    p.add_argument("--url", required=True, help="the tokeniser's address, https://host:port")
    p.add_argument("--project", required=True, help="the project's name")
    p.add_argument("--ca", required=True, help="PEM file of the authority of the service's certificate")
    p.add_argument("--cert", required=True, help="PEM file of your certificate")
    p.add_argument("--key", required=True, help="PEM file of its key")
    p.add_argument("--in", required=True, dest="source", metavar="FILE", help="CSV with a header, or NDJSON (.ndjson, .jsonl); - is standard input, as CSV")
    p.add_argument("--out", required=True, dest="target", metavar="FILE", help="CSV, or NDJSON (.ndjson, .jsonl); - is standard output, as CSV")
    p.add_argument("--map", action="append", default=[], metavar="FIELD=COLUMN", help="which column is which field; may be repeated")
    p.add_argument("--number-rows", action="store_true", help="unique_id is the row's number: for files without a reference of their own")
    p.add_argument("--return", dest="returns", default="token,encodings", metavar="WHAT", help="token, encodings or token,encodings (default both)")
    p.add_argument("--batch", type=int, default=1000, metavar="N", help="rows in a request (default 1000)")
    p.add_argument("--connections", type=int, default=2, metavar="N", help="requests at once (default 2)")
    p.add_argument("--delimiter", default=",", metavar="C", help="of the CSV input (default a comma; \\t is a tab)")
    p.add_argument("--encoding", default="utf-8-sig", help="of the input (default UTF-8)")
    p.add_argument("--max-refused", default="1%", metavar="SHARE", help="exit code 3 when more rows are refused (default 1%%)")
    p.add_argument("--timeout", type=float, default=40.0, metavar="S", help="seconds for one try of a request (default 40)")
    p.add_argument("--patience", type=float, default=600.0, metavar="S", help="seconds for all tries of a request (default 600)")
    return p


def _share(text: str) -> float:
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        raise TarnError("--max-refused is no share", "give one such as 1%")
    return share


def _columns(maps: Iterable[str]) -> Dict[str, str]:
    columns: Dict[str, str] = {}
    for one in maps:
        field, equals, column = one.partition("=")
        if not equals or field not in FIELDS or column in columns:
            raise TarnError("a --map is not of the form FIELD=COLUMN", "the field is one of " + ", ".join(FIELDS) + "; each column once")
        columns[column] = field
    return columns


def _said(error: TarnError, wait: float) -> None:
    print("trying again in %.1f s: %s" % (wait, error), file=sys.stderr, flush=True)


class _Progress:
    """Shows on a terminal how far it is."""

    def __init__(self, out: TextIO):
        self.out, self.begun, self.shown, self.first = out, time.monotonic(), 0.0, None  # type: TextIO, float, float, Optional[int]

    def __call__(self, rows: int, part: float) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = rows
        if not self.out.isatty() or now - self.shown < 0.5:
            return
        self.shown, took = now, max(now - self.begun, 1e-9)
        left = ", %d s left" % (took * (1 - part) / part) if 0 < part < 1 else ""
        self.out.write("\r%d rows, %d/s%s   " % (rows, (rows - self.first) / took, left))
        self.out.flush()

    def end(self) -> None:
        if self.shown:
            self.out.write("\r" + " " * 60 + "\r")


def _counted(codes: Dict[str, int]) -> str:
    return ", ".join("%s %d" % c for c in sorted(codes.items(), key=lambda c: (-c[1], c[0])))


def _work(args: argparse.Namespace) -> int:
    most = _share(args.max_refused)
    progress = _Progress(sys.stderr)
    try:
        with Client(args.url, args.project, args.ca, args.cert, args.key, connections=args.connections, timeout=args.timeout, patience=args.patience, on_retry=_said) as client:
            result = client.tokenise_file(args.source, args.target, columns=_columns(args.map), batch=args.batch, returns=[r.strip() for r in args.returns.split(",")],
                                          number_rows=args.number_rows, delimiter="\t" if args.delimiter == "\\t" else args.delimiter, encoding=args.encoding, progress=progress)
    finally:
        progress.end()
    said = "%d rows answered, %d ok, %d refused" % (result.rows, result.ok, result.refused)
    if result.codes:
        said += " (" + _counted(result.codes) + ")"
    if result.resumed:
        said += "; %d of them by an earlier run" % result.resumed
    if result.budget_remaining is not None:
        said += "; the budget has %d rows left" % result.budget_remaining
    print(said, file=sys.stderr)
    if result.warned:
        print("fields that were not used: " + _counted(result.warned), file=sys.stderr)
    if result.rows and result.refused / result.rows > most:
        raise TarnError("more rows were refused than --max-refused allows; the output is there", "correct the rows by their codes, or allow more", code="rows_refused", exit_code=ROWS_REFUSED)
    return 0


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs the command, and returns its exit code."""
    if hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, _stop)
    os.umask(0o077)
    try:
        return _work(_arguments().parse_args(arguments))
    except TarnError as e:
        print("error: %s" % e, file=sys.stderr)
        return e.exit_code
    except _Stopped as e:
        print("error: stopped; repeat the command to go on", file=sys.stderr)
        return 128 + e.number
    except KeyboardInterrupt:
        print("error: stopped; repeat the command to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return INTERNAL
    except Exception as e:  # its text, and the trace, could hold a value
        print("error: internal failure of type %s (its text is withheld, because it could hold data)" % type(e).__name__, file=sys.stderr)
        return INTERNAL


if __name__ == "__main__":
    sys.exit(main())
