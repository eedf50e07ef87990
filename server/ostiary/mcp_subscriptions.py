"""Subscriptions in both eras: `subscriptions/listen` streams and `resources/subscribe` sessions.

It words news for the protocol. Whether the caller may ask is the gate's to say, before
anything here is called.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import mcp.types as t
from mcp import MCPError
from mcp.server import ServerRequestContext
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.connection import Connection
from mcp.server.subscriptions import (
    ListenHandler,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
)

from ostiary.changes import THE_LIST, Changes, Full, Path, Subscriber
from ostiary.eras import MODERN
from ostiary_policies.model import Principal

_log = logging.getLogger(__name__)

MOST_ADDRESSES = 100
"""Of one subscription, or of one session of the 2025 era."""
_SUBSCRIBER = "ostiary subscriber"
_SLOW_CLIENT_S = 5.0

_Context = ServerRequestContext[Any]


class Subscriptions:
    """The subscriptions of one server."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._sending: set[asyncio.Task[None]] = set()

    async def listen(
        self, ctx: _Context, params: t.SubscriptionsListenRequestParams, who: Principal, addresses: dict[str, Path]
    ) -> t.SubscriptionsListenResult:
        """Serve one stream of the modern era until its client leaves, or the transport ends it because the credential has."""
        news = _Stream()
        handler = ListenHandler(news)
        subscriber = Subscriber(who, news.take, _expiry(), addresses)
        try:
            with self._changes.subscribed(subscriber):
                await self._changes.remember(subscriber)
                return await handler(ctx, params)
        except Full as error:
            raise MCPError(t.INVALID_REQUEST, str(error)) from None

    async def subscribe(self, ctx: _Context, who: Principal, address: str, path: Path) -> None:
        """Tell a session of the 2025 era of changes of an address."""
        try:
            subscriber = self._session(ctx, who)
            if len(subscriber.addresses) >= MOST_ADDRESSES and address not in subscriber.addresses:
                raise too_many()
            await self._changes.watch(subscriber, address, path)
        except Full as error:
            raise MCPError(t.INVALID_REQUEST, str(error)) from None

    def unsubscribe(self, ctx: _Context, address: str) -> None:
        """Tell it no more; also of one it never subscribed to."""
        subscriber: Subscriber | None = _connection(ctx).state.get(_SUBSCRIBER)
        if subscriber is not None:
            subscriber.addresses.pop(address, None)
            subscriber.seen.pop(address, None)

    async def listed(self, ctx: _Context, who: Principal) -> None:
        """Tell a session of the 2025 era, which was given its resources, when that list changes."""
        if ctx.protocol_version < MODERN:
            with suppress(Full):  # it has its list, and is told no more
                await self._changes.remember(self._session(ctx, who))

    def _session(self, ctx: _Context, who: Principal) -> Subscriber:
        """The subscriber that a connection of the 2025 era is; it goes when the connection closes."""
        connection = _connection(ctx)
        if _SUBSCRIBER not in connection.state:
            subscriber = Subscriber(who, lambda news: self._send(connection, news))
            self._changes.add(subscriber)
            connection.state[_SUBSCRIBER] = subscriber
            connection.exit_stack.callback(self._changes.remove, subscriber)
        found: Subscriber = connection.state[_SUBSCRIBER]
        if found.who != who:  # what it saw with other roles is no news
            found.seen.clear()
            found.state = ()
        found.who, found.until = who, _expiry()
        self._changes.add(found)  # its credential may have expired since
        return found

    def _send(self, connection: Connection, news: str) -> None:
        task = asyncio.create_task(self._sent(connection, news), name="notification")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _sent(self, connection: Connection, news: str) -> None:
        try:
            # A client that does not read misses it: news are cues, and nothing is kept for it.
            async with asyncio.timeout(_SLOW_CLIENT_S):
                if news == THE_LIST:
                    await connection.notify("notifications/resources/list_changed", None)
                else:
                    await connection.notify("notifications/resources/updated", {"uri": news})
        except TimeoutError:
            _log.info("a session that does not read was not told of a change")


class _Stream:
    """The SDK's bus for one stream: it hears the news of one subscriber."""

    def __init__(self) -> None:
        self._listener: Callable[[ServerEvent], None] | None = None

    async def publish(self, event: ServerEvent) -> None:
        """Hand over an event."""
        if self._listener is not None:
            self._listener(event)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Take the stream's listener; there is one."""
        self._listener = listener
        return lambda: None

    def take(self, news: str) -> None:
        """Hand over a piece of news."""
        if self._listener is None:
            return
        self._listener(ResourcesListChanged() if news == THE_LIST else ResourceUpdated(uri=news))


def too_many() -> MCPError:
    """The refusal of more addresses than one subscription may hold."""
    return MCPError(t.INVALID_PARAMS, f"A subscription may name at most {MOST_ADDRESSES} resources")


def _connection(ctx: _Context) -> Connection:
    connection: Connection = ctx.session._connection  # noqa: SLF001 - a handler is given its connection by no other name
    return connection


def _expiry() -> float | None:
    token = get_access_token()
    return token.expires_at if token is not None else None
