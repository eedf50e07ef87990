"""Wrong credentials: what they cost whoever shows them, what they cost others, and what of them is on record."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fix_agents import INITIALIZE, JSON, http_client
from fix_audit import AuditLog
from fix_identity import Door, believing, opened, providing
from fix_waiting import until

from ostiary.config import Config, load
from ostiary.identity.guesses import BURST, TOLD

NIGHTLY = {"X-Client-Subject": "CN=nightly"}


def behind_a_proxy(folder: Path) -> Config:
    """Of a server that believes a proxy on this machine, and no other."""
    path = folder / "ostiary.toml"
    path.write_text(
        "[http]\nauthentication = ['proxy']\n[proxy]\naddresses = ['127.0.0.1']\n"
        "[certificates.nightly]\nsubject = 'CN=nightly'\nroles = ['analyst']\n"
    )
    return load(path, {"HOME": str(folder)}, {})


async def ask(url: str, token: str = "", **headers: str) -> httpx2.Response:
    """A first request with that token, and other headers by names with `_`."""
    shown = {"Authorization": f"Bearer {token}"} if token else {}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with http_client() as http:
        return await http.post(f"{url}/mcp", json=INITIALIZE, headers=JSON | shown | named)


async def guess(url: str, count: int, **headers: str) -> list[int]:
    """What so many wrong tokens one after the other are answered with."""
    return [(await ask(url, f"guess{n}", **headers)).status_code for n in range(count)]


async def refusals(log: AuditLog) -> list[dict[str, Any]]:
    """The records of refused credentials."""
    found = [json.loads(row["body"]) for row in await log.fetch("SELECT body FROM audit.log WHERE kind = 'd' ORDER BY seq")]
    return [body for body in found if body["origin"] == "credential"]


@pytest.mark.asyncio
async def test_an_honest_caller_beside_a_guesser_at_one_address_is_never_held_up(config: Config, door: Door):
    async with providing() as provider, door(believing(config, provider)) as (url, _):
        answers = await guess(url, BURST + 2)
        last, fresh = await ask(url, "guess"), await ask(url, provider.token(sub="bob"))
        async with http_client() as http:
            silent = await http.post(f"{url}/mcp", json=INITIALIZE)

    assert answers == [401] * BURST + [429] * 2
    assert (last.status_code, last.headers["retry-after"]) == (429, "1")
    assert last.text == "too many wrong credentials; try again in 1 s\n"
    assert (fresh.status_code, silent.status_code) == (200, 401)


@pytest.mark.asyncio
async def test_wrong_tokens_sent_at_once_are_counted_as_those_sent_one_by_one(config: Config, door: Door):
    async with providing() as provider, door(believing(config, provider)) as (url, _):
        wrong = [ask(url, provider.token(sub=f"n{n}", aud="https://other.example/mcp")) for n in range(BURST + 40)]
        *answers, fresh = await asyncio.gather(*wrong, ask(url, provider.token(sub="bob")))

    told = [answer.status_code for answer in answers]
    assert (told.count(401), told.count(429), fresh.status_code) == (BURST, 40, 200)


@pytest.mark.asyncio
async def test_however_many_were_wrong_a_second_later_the_next_is_told_why(config: Config, door: Door):
    now = [0.0]
    async with providing() as provider, door(believing(config, provider), clock=lambda: now[0]) as (url, _):
        await guess(url, BURST * 3)
        now[0] = 1.0
        after_a_second = await guess(url, 2)
        now[0] = 1.0 + BURST
        later = await guess(url, BURST + 1)

    assert after_a_second == [401, 429]
    assert later == [401] * BURST + [429]


@pytest.mark.asyncio
async def test_a_token_that_was_right_and_went_bad_counts_like_any_other(config: Config, door: Door):
    async with providing() as provider, door(believing(config, provider, leeway_s=0)) as (url, _):
        passing = provider.token(sub="carol", exp=int(time.time()) + 2)
        first = await ask(url, passing)

        async def expired() -> bool:
            return (await ask(url, passing)).status_code != 200

        await until(expired)
        answers = [(await ask(url, passing)).status_code for _ in range(BURST)]

    assert first.status_code == 200
    assert answers == [401] * (BURST - 1) + [429]


@pytest.mark.asyncio
async def test_behind_the_proxy_everybody_is_counted_for_himself(tmp_path: Path, door: Door):
    async with door(behind_a_proxy(tmp_path)) as (url, _):
        mallory = await guess(url, BURST + 1, X_Forwarded_For="198.51.100.7, 203.0.113.9")
        other = await guess(url, 1, X_Forwarded_For="203.0.113.9, 198.51.100.7")
        unreadable = await guess(url, 1, X_Forwarded_For="unknown")
        held = await ask(url, X_Client_Subject="CN=nightly", X_Forwarded_For="203.0.113.9")
        wrong = await ask(url, X_Client_Subject="CN=mallory", X_Forwarded_For="203.0.113.9")

    assert mallory == [401] * BURST + [429]
    assert (other, unreadable) == ([401], [401])
    assert (held.status_code, wrong.status_code) == (200, 429)


@pytest.mark.asyncio
async def test_who_is_no_proxy_chooses_no_address_for_himself(config: Config, audit_log: AuditLog):
    async with providing() as provider, opened(audit_log, believing(config, provider)) as (url, _):
        answers = [(await guess(url, 1, X_Forwarded_For=f"203.0.113.{n}"))[0] for n in range(BURST + 1)]
    recorded = await refusals(audit_log)

    assert answers == [401] * BURST + [429]
    assert {body["arguments"]["address"] for body in recorded} == {"127.0.0.1"}


@pytest.mark.asyncio
async def test_an_ipv4_address_is_one_on_a_listener_of_both_families_too(tmp_path: Path, audit_log: AuditLog):
    async with opened(audit_log, behind_a_proxy(tmp_path), host="::") as (url, _):
        port = url.rpartition(":")[2]
        proxied = await ask(f"http://127.0.0.1:{port}", X_Client_Subject="CN=nightly")
        stranger = await ask(f"http://[::1]:{port}", X_Client_Subject="CN=nightly")
        guessed = await guess(f"http://127.0.0.1:{port}", 1)
    recorded = await refusals(audit_log)

    assert (proxied.status_code, stranger.status_code, guessed) == (200, 401, [401])
    assert [body["arguments"]["address"] for body in recorded] == ["::/64", "127.0.0.1"]


@pytest.mark.asyncio
async def test_every_reason_of_an_address_is_on_record_once_and_so_is_its_turning_into_a_flood(config: Config, audit_log: AuditLog):
    async with providing() as provider, opened(audit_log, believing(config, provider)) as (url, _):
        await guess(url, 2)
        await ask(url, provider.token(aud="https://other.example/mcp"))
        await guess(url, BURST)
    recorded = await refusals(audit_log)

    assert [body["decision"] for body in recorded] == ["unrecognised"] * 3
    assert len({body["reason"] for body in recorded}) == 3
    assert recorded[-1]["reason"] == "too many wrong credentials"


@pytest.mark.asyncio
async def test_a_right_credential_that_opens_nothing_is_on_record_with_whom_it_stands_for(config: Config, audit_log: AuditLog):
    async with providing() as provider, opened(audit_log, believing(config, provider, scopes=("db",))) as (url, _):
        roleless = await ask(url, provider.token(scope="db", roles=["strangers"]))
        scopeless = await ask(url, provider.token(sub="bob"))
    recorded = await refusals(audit_log)

    assert (roleless.status_code, scopeless.status_code) == (403, 403)
    assert [(body["decision"], body["agent"]) for body in recorded] == [("unentitled", "alice"), ("unentitled", "bob")]
    assert {body["arguments"]["issuer"] for body in recorded} == {provider.url}


@pytest.mark.asyncio
async def test_a_crowd_of_addresses_is_one_record_until_it_has_been_quiet(tmp_path: Path, audit_log: AuditLog):
    now = [0.0]
    async with opened(audit_log, behind_a_proxy(tmp_path), clock=lambda: now[0]) as (url, _):
        for n in range(TOLD + 5):
            await guess(url, 1, X_Forwarded_For=f"203.0.{n // 250}.{n % 250}")
        now[0] = 60.0
        await guess(url, 1, X_Forwarded_For="198.51.100.7")
    addresses = [body["arguments"]["address"] for body in await refusals(audit_log)]

    assert len(addresses) == TOLD + 2
    assert addresses[-2:] == ["others", "198.51.100.7"]
