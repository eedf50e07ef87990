"""Resources of the protocol: the tables a caller may see, those of tool packs, and news of both.

An address that names nothing the caller may see is unknown, whatever else is wrong with
asking for it; only how the server itself is, is told apart.
"""

from contextlib import suppress
from functools import cache
from typing import Any, cast

import mcp.types as t
from mcp import MCPError
from mcp.server import ServerRequestContext
from mcp.shared.uri_template import UriTemplate

from ostiary import mcp_content
from ostiary.addresses import TEMPLATE, address_of, path_of, quoted
from ostiary.changes import Path
from ostiary.errors import CallFailed
from ostiary.mcp_calls import Calls
from ostiary.mcp_errors import of_the_server, only_page, wrong_cursor
from ostiary.mcp_subscriptions import MOST_ADDRESSES, Subscriptions, too_many
from ostiary.shape import Reply
from ostiary_tools.api import ResourceTool, Surface
from ostiary_tools.result import Name, Names

_Context = ServerRequestContext[Any]


class Resources:
    """The handlers of resources and of subscriptions to them, where there are any."""

    def __init__(self, calls: Calls, subscriptions: Subscriptions | None) -> None:
        self._call = calls
        self._subscriptions = subscriptions

    async def listed(self, ctx: _Context, params: t.PaginatedRequestParams | None) -> t.ListResourcesResult:
        """A page of the tables the caller may see, and before the first the resources of tool packs."""
        try:
            after = path_of(params.cursor) if params and params.cursor is not None else ()
        except ValueError:
            raise wrong_cursor() from None
        packs = (
            [] if after else [mcp_content.resource_of(tool) for tool in await self._resource_tools(ctx) if not _is_template(tool)]
        )
        try:
            reply = await self._call(ctx, "describe", {"after": after}, Surface.RESOURCES, "list")
        except (CallFailed, MCPError) as error:
            if of_the_server(error):
                raise
            # Who may not describe has no tables.
            return t.ListResourcesResult(resources=packs, ttl_ms=0, cache_scope="private")
        if self._subscriptions is not None:
            await self._subscriptions.listed(ctx, self._call.who(ctx))
        names = reply.names or Names(())
        following = address_of(names.names[-1]) if names.more else None
        resources = packs + [_resource(name) for name in names.names]
        return t.ListResourcesResult(resources=resources, next_cursor=following, ttl_ms=0, cache_scope="private")

    async def templates(self, ctx: _Context, params: t.PaginatedRequestParams | None) -> t.ListResourceTemplatesResult:
        """The address pattern of tables, and those of tool packs."""
        only_page(params)
        template = t.ResourceTemplate(name="table", title="A table or view", uri_template=TEMPLATE, mime_type="text/plain")
        packs = [mcp_content.template_of(tool) for tool in await self._resource_tools(ctx) if _is_template(tool)]
        return t.ListResourceTemplatesResult(resource_templates=[template, *packs], ttl_ms=0, cache_scope="private")

    async def read(self, ctx: _Context, params: t.ReadResourceRequestParams) -> t.ReadResourceResult:
        """A table's description, or what a tool pack has there; an address that names nothing the caller may see is unknown."""
        uri = str(params.uri)
        _, reply = await self._described(ctx, uri, "resource")
        tool = await self._own(ctx, uri)
        contents = mcp_content.contents_of(reply, uri, tool.mime_type if tool else "text/plain")
        return t.ReadResourceResult(contents=contents, ttl_ms=0, cache_scope="private")

    async def listen(self, ctx: _Context, params: t.SubscriptionsListenRequestParams) -> t.SubscriptionsListenResult:
        """A stream of changes. Whoever asks must be able to read what it asks for, and asking is recorded so."""
        asked = params.notifications
        # Who may call what changes with the policies, and nobody looks for it on a client's behalf: no such news is promised.
        asked.tools_list_changed = asked.prompts_list_changed = None
        addresses = asked.resource_subscriptions = list(dict.fromkeys(asked.resource_subscriptions or ()))
        if len(addresses) > MOST_ADDRESSES:
            raise too_many()
        paths = {uri: (await self._described(ctx, uri, "subscription"))[0] for uri in addresses}
        if not addresses:
            with suppress(MCPError):  # who may not describe has no resources, and no news of them
                await self._call(ctx, "describe", {"limit": 1}, Surface.RESOURCES, "subscription")
        return await self._told.listen(ctx, params, self._call.who(ctx), paths)

    async def subscribe(self, ctx: _Context, params: t.SubscribeRequestParams) -> t.EmptyResult:
        """Likewise for an address, in the 2025 era."""
        address = str(params.uri)
        path, _ = await self._described(ctx, address, "subscription")
        await self._told.subscribe(ctx, self._call.who(ctx), address, path)
        return t.EmptyResult()

    async def unsubscribe(self, ctx: _Context, params: t.UnsubscribeRequestParams) -> t.EmptyResult:
        """No more of it. Nothing is asked and nothing told, so there is nothing to record."""
        self._told.unsubscribe(ctx, str(params.uri))
        return t.EmptyResult()

    @property
    def _told(self) -> Subscriptions:
        if self._subscriptions is None:
            raise MCPError(t.METHOD_NOT_FOUND, "Method not found")
        return self._subscriptions

    async def _described(self, ctx: _Context, uri: str, origin: str) -> tuple[Path, Reply]:
        """What the address shows the caller; one that names nothing it may see is unknown."""
        try:
            if (tool := await self._own(ctx, uri)) is not None:
                # Packs tell of no changes: the path is no table's, so no news ever fit it.
                return (tool.name, "", ""), await self._call(ctx, tool.name, _variables(tool, uri), Surface.RESOURCE, origin)
            datasource, schema, table = path_of(uri)
            asked = {"tables": [f"{quoted(schema)}.{quoted(table)}"], "datasource": datasource}
            return (datasource, schema, table), await self._call(ctx, "describe", asked, origin=origin)
        except (ValueError, CallFailed, MCPError) as error:
            if of_the_server(error):
                raise
            raise MCPError(t.INVALID_PARAMS, "Unknown resource", {"uri": uri[:300]}) from None

    async def _own(self, ctx: _Context, uri: str) -> ResourceTool[Any] | None:
        """The resource of a tool pack at that address, if this caller may read it."""
        tools = await self._resource_tools(ctx)
        return next((tool for tool in tools if _template(tool.uri).match(uri) is not None), None)

    async def _resource_tools(self, ctx: _Context) -> list[ResourceTool[Any]]:
        return cast("list[ResourceTool[Any]]", await self._call.tools(ctx, Surface.RESOURCE))


def _resource(name: Name) -> t.Resource:
    return t.Resource(uri=address_of(name), name="/".join(name.path), description=name.comment or None, mime_type="text/plain")


def _is_template(tool: ResourceTool[Any]) -> bool:
    return UriTemplate.is_template(tool.uri)


def _variables(tool: ResourceTool[Any], uri: str) -> dict[str, Any]:
    return dict(_template(tool.uri).match(uri) or {})


@cache
def _template(uri: str) -> UriTemplate:
    return UriTemplate.parse(uri)
