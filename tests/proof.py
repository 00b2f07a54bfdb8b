"""What a promise's test counted: printed, and kept where the environment says."""

import json
import os
from datetime import UTC, datetime


def proved(promise, seconds, **counts):
    """Print the counts, and append them as a line of JSON to the file that SUPERPOSE_PROOF names."""
    print(f"{promise}: " + ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()))
    if path := os.environ.get("SUPERPOSE_PROOF"):
        date = datetime.now(UTC).isoformat(timespec="seconds")
        line = {"promise": promise, "counts": counts, "seconds": round(seconds, 1), "date": date}
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
