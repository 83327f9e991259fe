# SPDX-License-Identifier: GPL-2.0-only
"""Data of the page: compressed JSON as text."""

import base64
import json
import zlib
from typing import Any


def pack(data: Any) -> str:
    """Return data as JSON, compressed with zlib, in base64: what a page can unpack itself."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(zlib.compress(text.encode("utf-8", "replace"), 6)).decode()
