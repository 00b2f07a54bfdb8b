"""One line for each promise that a test has proven, with its counts."""

import datetime
import json
import os


def proved(promise: str, seconds: float, **counts: object) -> None:
    """Print the line and, where SUPERPOSE_PROOF names a file, add it there as JSON."""
    counted = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in counts.items())
    print(f"{promise}: {counted} ({seconds:.1f} s)")
    if file := os.environ.get("SUPERPOSE_PROOF"):
        today = datetime.date.today().isoformat()
        row = {"promise": promise, "counts": counts, "seconds": round(seconds, 1), "date": today}
        with open(file, "a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")
