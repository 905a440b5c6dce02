"""Hold AuditEvents, one on each line of standard input, to the models of fhir.resources.

They are those of R4B, in which AuditEvent is what it is in R4. Printed is how many there
were; the first that is wrong ends it, with its line and the members that are wrong and
nothing of their values.
"""

import sys

from fhir.resources.R4B.auditevent import AuditEvent
from pydantic import ValidationError

lines = 0
for line in sys.stdin.buffer:
    lines += 1
    try:
        AuditEvent.model_validate_json(line)
    except ValidationError as wrong:
        sys.exit(f"line {lines}: " + "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['type']}" for e in wrong.errors()))
print(lines)
