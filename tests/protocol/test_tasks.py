"""Jobs as tasks: a client that declares the extension is answered with one, its owner alone follows it, and looks are recorded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import mcp.types as t
import pytest
from fix_agents import http_client
from fix_custody import OpenStrongroom
from fix_http import serving
from fix_pages import OpenLibrary
from fix_server import LONG
from fix_waiting import until
from mcp import Client, ClientSession, MCPError
from mcp.client.extension import ClientExtension, ResultClaim

from ostiary.config import Config
from ostiary.mcp_app import McpApp
from ostiary.mcp_tasks import EXTENSION
from ostiary_policies.model import Principal

NOBODYS = "00000000-0000-0000-0000-000000000000"


class TaskId(t.RequestParams):
    task_id: str


class GetTask(t.Request[TaskId, Literal["tasks/get"]]):
    method: Literal["tasks/get"] = "tasks/get"
    params: TaskId
    name_param = "taskId"


class CancelTask(t.Request[TaskId, Literal["tasks/cancel"]]):
    method: Literal["tasks/cancel"] = "tasks/cancel"
    params: TaskId
    name_param = "taskId"


class UpdateTask(t.Request[TaskId, Literal["tasks/update"]]):
    method: Literal["tasks/update"] = "tasks/update"
    params: TaskId
    name_param = "taskId"


class Task(t.Result):
    task_id: str
    status: str
    ttl_ms: int
    poll_interval_ms: int
    created_at: str
    last_updated_at: str
    result: dict[str, Any] | None = None


class Created(Task):
    result_type: Literal["task"] = "task"


class FollowsTasks(ClientExtension):
    """Polls a task until it ends, as a client that knows the extension does."""

    identifier = EXTENSION

    def __init__(self) -> None:
        self.created: asyncio.Queue[str] = asyncio.Queue()
        self.ended: list[str] = []

    def claims(self) -> list[ResultClaim[Any]]:
        """Results of calls that became tasks."""
        return [ResultClaim(result_type="task", model=Created, resolve=self._follow)]

    async def _follow(self, created: Created, context: Any) -> t.CallToolResult:
        self.created.put_nowait(created.task_id)
        await until(lambda: _ended(context.session, created.task_id))
        task = await looked(context.session, created.task_id)
        self.ended.append(task.status)
        return t.CallToolResult.model_validate(task.result or {"content": []})


async def _ended(session: Any, id_: str) -> bool:
    return (await looked(session, id_)).status != "working"


async def looked(session: ClientSession, id_: str) -> Task:
    return await session.send_request(GetTask(params=TaskId(task_id=id_)), Task)


async def refusal(awaited: Any) -> tuple[int, str]:
    with pytest.raises(MCPError) as caught:
        await awaited
    return caught.value.code, str(caught.value)


@asynccontextmanager
async def opened(library: OpenLibrary) -> AsyncIterator[tuple[Any, Any]]:
    async with library() as shop:

        def agent(name: str = "ada", role: str = "reader", **given: Any) -> Client:
            house = shop.house
            return Client(McpApp(house.gate, lambda _: Principal(name, (role,)), jobs=house.jobs).server, **given)

        yield shop, agent


@pytest.mark.asyncio
async def test_a_client_that_declares_tasks_is_answered_with_one_and_another_with_the_file(library: OpenLibrary):
    follows = FollowsTasks()
    async with opened(library) as (shop, agent), agent(extensions=[follows]) as ada, agent() as plain, agent(mode="legacy") as old:
        assert EXTENSION in (ada.server_capabilities.extensions or {})
        export = {"sql": "select id from people", "name": "n"}
        replies = [await client.call_tool("export", export) for client in (ada, plain, old)]
        refused = await ada.call_tool("export", {"sql": "select secret from people", "name": "n"})
        read = await ada.call_tool("query", {"sql": "select id from people limit 1"})
        records = await shop.site.records()
    assert follows.ended == ["completed"]
    assert ["900 rows" in reply.content[0].text for reply in replies] == [True] * 3
    assert refused.is_error
    assert "1 row" in read.content[0].text
    looks = [r for r in records if r.get("origin") == "task"]
    assert {(r["tool"], r["decision"], r["agent"]) for r in looks} == {("job", "permit", "ada")}


@pytest.mark.asyncio
async def test_a_task_is_its_owners_alone_and_those_who_do_not_declare_the_extension_have_none(library: OpenLibrary):
    follows = FollowsTasks()
    async with (
        opened(library) as (_, agent),
        agent(extensions=[follows]) as ada,
        agent("eve", extensions=[FollowsTasks()]) as eve,
        agent(role="nobody", extensions=[FollowsTasks()]) as nobody,
        agent() as plain,
        agent(mode="legacy") as old,
    ):
        call = asyncio.create_task(ada.call_tool("export", {"sql": LONG, "name": "n"}))
        async with asyncio.timeout(20):
            id_ = await follows.created.get()
        for client, asked in ((eve, id_), (ada, NOBODYS), (ada, "'; drop"), (nobody, id_)):
            for request in (GetTask, CancelTask, UpdateTask):
                said = await refusal(client.session.send_request(request(params=TaskId(task_id=asked)), t.EmptyResult))
                assert said == (t.INVALID_PARAMS, "Unknown task"), (asked, request)
        for client, code in ((plain, t.MISSING_REQUIRED_CLIENT_CAPABILITY), (old, t.METHOD_NOT_FOUND)):
            assert (await refusal(looked(client.session, id_)))[0] == code
        await ada.session.send_request(UpdateTask(params=TaskId(task_id=id_)), t.EmptyResult)
        assert (await looked(ada.session, id_)).status == "working"
        await ada.session.send_request(CancelTask(params=TaskId(task_id=id_)), t.EmptyResult)
        async with asyncio.timeout(20):
            await call
    assert follows.ended == ["cancelled"]


@pytest.mark.asyncio
async def test_over_http_a_look_at_a_task_says_in_its_header_which(ostiary_config: Config):
    own = "io.modelcontextprotocol/"
    meta = {
        f"{own}protocolVersion": "2026-07-28",
        f"{own}clientInfo": {"name": "raw", "version": "0"},
        f"{own}clientCapabilities": {"extensions": {EXTENSION: {}}},
    }
    headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tasks/get"}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"taskId": NOBODYS, "_meta": meta}}
    async with serving(ostiary_config) as (url, _), http_client(headers=headers) as http:
        names: tuple[dict[str, str], ...] = ({}, {"Mcp-Name": NOBODYS.replace("0", "1")}, {"Mcp-Name": NOBODYS})
        said = [(await http.post(url, json=body, headers=name)).text for name in names]
    codes = (t.HEADER_MISMATCH, t.HEADER_MISMATCH, t.INVALID_PARAMS)
    assert [f'"code":{code}' in text.replace(" ", "") for code, text in zip(codes, said, strict=True)] == [True] * 3, said


@pytest.mark.asyncio
async def test_a_backup_is_a_task_of_whoever_follows_tasks(strongroom: OpenStrongroom):
    follows = FollowsTasks()
    async with strongroom() as it, it.working():
        app = McpApp(it.house.gate, lambda _: Principal("ada", ("custodian",)), jobs=it.house.jobs)
        async with Client(app.server, extensions=[follows]) as ada:
            reply = await ada.call_tool("create_backup", {"kind": "logical"})
    assert follows.ended == ["completed"]
    assert "of `shop` (logical)" in str(reply.content)
