"""Checks what `make demo` left behind. Usage: check_demo.py FOLDER

Prints what it looked at and exits 1 with every shortfall named.
"""

import json
import pathlib
import sys

MAX_WALL_S = 60.0
MIN_F1 = 0.985
MIN_PRECISION = 0.99


def shortfalls(folder: pathlib.Path) -> list[str]:
    """Returns what is wrong with the demo's outputs; empty when nothing is."""
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return [f"summary.json cannot be read: {error}"]
    wrong = []
    if summary.get("schema") != "tarn.demo/1":
        wrong.append("summary.json is not a tarn.demo/1 document")
    if summary.get("ok") is not True:
        failed = [s.get("name") for s in summary.get("steps") or [] if not s.get("ok")]
        wrong.append(f"ok is not true; steps that failed: {failed}")

    def bounded(name, value, low=None, below=None):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            wrong.append(f"{name} is not a number")
        elif low is not None and not value >= low:
            wrong.append(f"{name} is {value}, must be at least {low}")
        elif below is not None and not value < below:
            wrong.append(f"{name} is {value}, must be below {below}")
        print(f"{name} = {value}")

    evaluation = summary.get("evaluate") or {}
    bounded("wall_s", summary.get("wall_s"), below=MAX_WALL_S)
    bounded("evaluate.f1", evaluation.get("f1"), low=MIN_F1)
    bounded("evaluate.precision", evaluation.get("precision"), low=MIN_PRECISION)
    for name in ("report.html", "links.parquet"):
        file = folder / name
        if not file.is_file() or file.stat().st_size == 0:
            wrong.append(f"{name} is missing or empty")
    return wrong


def main() -> int:
    wrong = shortfalls(pathlib.Path(sys.argv[1]))
    for line in wrong:
        print(f"check_demo: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
