"""Sizes for people and models."""

_STEP = 1000
_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def bytes_told(size: float) -> str:
    """Such as `12.3 MB`; powers of ten."""
    for unit in _UNITS[:-1]:
        if size < _STEP:
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= _STEP
    return f"{size:.1f} {_UNITS[-1]}"
