"""Parts of the page that its script unpacks when they are asked for: hundreds of panels at a tenth of their bytes."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any


def packed(value: Any, name: str = "") -> str:
    """Return a value as compressed JSON, in an element that no browser runs or shows.

    The format is that of the browser's own `DecompressionStream("deflate-raw")`, so that no library unpacks it.
    """
    stream = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    data = base64.b64encode(stream.compress(text.encode()) + stream.flush()).decode()
    identity = f' id="{name}"' if name else ""
    return f'<script type="text/plain" class="packed"{identity}>{data}</script>'
