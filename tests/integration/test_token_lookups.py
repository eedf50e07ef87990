"""Lookups of Ostiary's own tokens: a crowd of strangers' costs others nothing, and a database that is silent is said to be."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
from fix_audit import AuditLog
from fix_waiting import until
from starlette.requests import HTTPConnection

from ostiary.identity.caller import Caller, NotRecognised, Unreachable
from ostiary.identity.tokens import IssuedTokens, digest, new_id, new_token
from ostiary_tools.control.tokens import StoredToken, TokenTable


class Counted(TokenTable):
    """The table, and how often it was asked."""

    questions = 0

    async def find(self, digests: Iterable[bytes]) -> dict[bytes, StoredToken]:
        """Count, and ask."""
        self.questions += 1
        return await super().find(digests)


def showing(token: str) -> HTTPConnection:
    return HTTPConnection({"type": "http", "headers": [(b"authorization", f"Bearer {token}".encode())]})


@asynccontextmanager
async def tokens(dsn: str) -> AsyncIterator[tuple[IssuedTokens, Counted]]:
    """What recognises bearers by the table behind that login."""
    table = Counted(dsn)
    ways = IssuedTokens(table, frozenset(("analyst",)), cache_s=60, attributes={})
    try:
        yield ways, table
    finally:
        await ways.close()
        await table.close()


async def made(log: AuditLog) -> tuple[str, str]:
    """A token and its id."""
    admin, token, id_ = TokenTable(log.place.admin_dsn), new_token(), new_id()
    await admin.add(id_, digest(token), "nightly", ("analyst",), 1)
    await admin.close()
    return token, id_


@pytest.mark.asyncio
async def test_tokens_shown_at_once_are_looked_up_in_a_few_questions(audit_log: AuditLog):
    token, id_ = await made(audit_log)
    async with tokens(audit_log.writer_dsn) as (ways, table):
        shown = [new_token() for _ in range(500)]
        answers = await asyncio.gather(
            *(ways.recognise(showing(each)) for each in shown), ways.recognise(showing(token)), return_exceptions=True
        )
        questions = table.questions
        await asyncio.gather(*(ways.recognise(showing(new_token())) for _ in range(20)), return_exceptions=True)
        asked = table.questions
        await ways.recognise(showing(token))
        remembered = table.questions == asked

    assert {type(answer) for answer in answers[:-1]} == {NotRecognised}
    assert isinstance(answers[-1], Caller)
    assert answers[-1].subject == id_
    assert questions <= 2
    assert remembered


@pytest.mark.asyncio
async def test_a_revoked_token_is_refused_by_its_name(audit_log: AuditLog):
    token, id_ = await made(audit_log)
    admin = TokenTable(audit_log.place.admin_dsn)
    await admin.revoke(id_)
    await admin.close()
    async with tokens(audit_log.writer_dsn) as (ways, _):
        with pytest.raises(NotRecognised) as refused:
            await ways.recognise(showing(token))

    assert refused.value.token == id_


@pytest.mark.asyncio
async def test_a_use_that_cannot_be_written_down_refuses_nobody(audit_log: AuditLog):
    token, id_ = await made(audit_log)
    await audit_log.fetch("REVOKE UPDATE (used_on) ON tokens.token FROM ostiary_writer")
    async with tokens(audit_log.writer_dsn) as (ways, _):
        recognised = await ways.recognise(showing(token))

    assert isinstance(recognised, Caller)
    assert recognised.subject == id_


@pytest.mark.asyncio
async def test_a_use_is_written_down(audit_log: AuditLog):
    token, id_ = await made(audit_log)

    async def written() -> bool:
        # The day before too: midnight may pass between the use and this look.
        [row] = await audit_log.fetch("SELECT used_on >= current_date - 1 AS lately FROM tokens.token WHERE id = $1", id_)
        return row["lately"] is True

    async with tokens(audit_log.writer_dsn) as (ways, _):
        await ways.recognise(showing(token))
        await until(written)


@pytest.mark.asyncio
async def test_where_the_database_is_silent_all_who_ask_are_told_together():
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, tokens(f"postgresql://nobody@127.0.0.1:{port}/nowhere?sslmode=disable") as (ways, _):
        async with asyncio.timeout(20):  # one after the other they would take minutes
            answers = await asyncio.gather(*(ways.recognise(showing(new_token())) for _ in range(50)), return_exceptions=True)

    assert {type(answer) for answer in answers} == {Unreachable}
