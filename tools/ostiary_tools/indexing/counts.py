"""What indexing came to, in numbers."""

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """Of documents, but for chunks."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    deleted: int = 0
    chunks: int = 0
    """That were stored."""
    empty: int = 0
    """Rows without text, which are left out."""

    @property
    def seen(self) -> int:
        """How many were looked at."""
        return self.added + self.changed + self.unchanged + self.empty

    def told(self, name: str) -> str:
        """In a sentence."""
        done = f"{self.added:,} added, {self.changed:,} changed, {self.unchanged:,} unchanged, {self.deleted:,} deleted"
        left_out = f"; {self.empty:,} rows without text left out" if self.empty else ""
        return f"indexed `{name}`: {done}; {self.chunks:,} chunks stored{left_out}"
