"""The caller's trace, as W3C Trace Context writes it. It is a claim of the caller's, so it is checked before it is kept."""

import re

_HEADER = re.compile(r"((?!ff)[0-9a-f]{2})-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)


def traceparent(claimed: object) -> str:
    """The header's four fields, or empty when it is none. Of a later version only what this one knows is kept."""
    found = _HEADER.fullmatch(claimed) if isinstance(claimed, str) and len(claimed) <= 512 else None  # noqa: PLR2004 room for more
    if found is None or (found[1] == "00" and found[5]):
        return ""
    return "-".join(found.groups()[:4])


def trace_id(parent: str) -> str:
    """The trace's own id of what `traceparent` gave; empty for empty."""
    return parent[3:35]
