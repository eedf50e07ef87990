"""Chroma, opened so that it keeps to itself: nothing from the environment or a file `.env`, no telemetry, no model."""

import ipaddress
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

from ostiary_tools.errors import Refused
from ostiary_tools.vectors.settings import ChromaSettings

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection
    from chromadb.config import Settings, System

T = TypeVar("T")


class Chroma:
    """What is open of it. Its calls block; over HTTP none waits longer than it was told."""

    def __init__(self, system: "System") -> None:
        """The system starts with it."""
        from chromadb.api import ServerAPI  # an extra, and heavy

        self.api: ServerAPI = system.instance(ServerAPI)  # type: ignore[type-abstract]  # it gives the one that is set
        self._system = system
        self._found: dict[UUID, Collection] = {}

    def start(self) -> "Chroma":
        """Open what is below it."""
        self._system.start()
        return self

    def of(self, id: UUID, work: "Callable[[Collection], T]") -> T:  # noqa: A002 as it is called there
        """What comes of a collection. It is never embedded there: vectors are always given. Raises Chroma's `NotFoundError`."""
        from chromadb.errors import NotFoundError  # an extra, and heavy

        if known := self._found.get(id):
            try:
                return work(known)
            except NotFoundError:  # another process may have made it anew
                self._found.pop(id, None)
        found = self._found[id] = self._collection(self.api.get_collection(str(id)))
        return work(found)

    def create(self, id: UUID, configuration: Mapping[str, Any]) -> None:  # noqa: A002 likewise
        """Make it where there is none."""
        made = self.api.create_collection(str(id), configuration=configuration, get_or_create=True)  # type: ignore[arg-type]  # it is one
        self._found[id] = self._collection(made)

    def drop(self, id: UUID) -> None:  # noqa: A002 likewise
        """Take it away where there is one."""
        from chromadb.errors import NotFoundError  # an extra, and heavy

        self._found.pop(id, None)
        with suppress(NotFoundError):
            self.api.delete_collection(str(id))

    def _collection(self, model: Any) -> "Collection":
        from chromadb.api.models.Collection import Collection  # an extra, and heavy

        return Collection(self.api, model, embedding_function=None)

    def close(self) -> None:
        """Give it back."""
        self._system.stop()
        if (session := getattr(self.api, "_session", None)) is not None:
            session.close()


def opened(folder: Path) -> Chroma:
    """The one that runs in this process, over a folder."""
    return _chroma("chromadb.api.rust.RustBindingsAPI", is_persistent=True, persist_directory=str(folder)).start()


def connected(settings: ChromaSettings) -> Chroma:
    """A server."""
    url = urlsplit(settings.url or "")
    check(url, settings.key)
    chroma = _chroma(
        "chromadb.api.fastapi.FastAPI",
        chroma_server_host=url.geturl().rstrip("/"),
        chroma_server_http_port=url.port or 0,  # it is asked for, and not used beside a whole URL
        chroma_server_ssl_enabled=url.scheme == "https",
        chroma_server_headers={"Authorization": f"Bearer {settings.key}"} if settings.key else None,
    )
    # Chroma's client waits for ever, and has no setting for it.
    chroma.api._session.timeout = settings.timeout_s  # type: ignore[attr-defined]  # noqa: SLF001 see above
    return chroma.start()


def check(url: SplitResult, key: str | None) -> None:
    """Raise Refused where it is no plain URL of a server, or would tell the key to whoever listens."""
    if url.scheme not in ("http", "https") or not url.hostname or url.username or url.query or url.fragment:
        raise Refused("url", "the URL of a Chroma server is not one", "write it as `http://HOST:PORT`")
    if key and url.scheme == "http" and not _loopback(url.hostname):
        raise Refused("url", "the key of a Chroma server would travel in clear text", "use `https://`")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _chroma(implementation: str, **settings: Any) -> Chroma:
    from chromadb.config import System  # an extra, and heavy

    return Chroma(System(_settings(chroma_api_impl=implementation, anonymized_telemetry=False, **settings)))


def _settings(**values: Any) -> "Settings":
    from chromadb.config import Settings  # an extra, and heavy

    class Own(Settings):
        """What is said here alone: Chroma would read the environment, and a file in whatever folder we were started in."""

        @classmethod
        def settings_customise_sources(  # type: ignore[override]  # whatever other sources there are
            cls, _class: Any, init_settings: Any, *_more: Any, **_others: Any
        ) -> tuple[Any, ...]:
            return (init_settings,)

    return Own(**values)
