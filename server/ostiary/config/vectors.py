"""The part of the table that says where collections of vectors are kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from ostiary.config.callers import Url
from ostiary.config.secrets import BearerKey, Dsn
from ostiary.config.section import Section, setting

STORES: Mapping[str, frozenset[str]] = {
    "pgvector": frozenset({"dsn", "pool_max", "build_memory_mb"}),
    "chroma": frozenset({"path", "url", "key"}),
}
"""What a store of each kind may be told that others may not."""


class Store(Section):
    """A store of vectors; `<name>` is what collections call it, and the first is the default.

    With none configured, there is `local` in the embedded PostgreSQL.
    """

    kind: Literal["pgvector", "chroma"] = setting(
        ..., "What it is: a PostgreSQL database with the extension vector, or Chroma.", example="pgvector"
    )
    dsn: Dsn | None = setting(
        None,
        "Of `pgvector`: where it is and who logs in, a role of its own that may create a schema there.",
        example="env:VECTORS_DSN",
    )
    path: Path | None = setting(None, "Of `chroma`: the folder it keeps its files in, without a server.", example="chroma")
    url: Url | None = setting(None, "Of `chroma`: where its server is.", example="https://chroma.example.com")
    key: BearerKey | None = setting(None, "Of `chroma` with a `url`: the token its server asks for.", example="env:CHROMA_KEY")
    pool_max: int = setting(
        8, "Of `pgvector`: connections at most; one more while an index is built.", unit="connections", ge=1, le=1_000
    )
    timeout_s: float = setting(
        30.0, "Longest wait for an answer; building an index takes as long as it takes.", unit="seconds", gt=0, le=3600
    )
    build_memory_mb: int = setting(
        512, "Of `pgvector`: memory that building an index may use in the server.", unit="MB", ge=16, le=1_000_000
    )
