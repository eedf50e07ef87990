"""Access tokens over real HTTP: whom they let in, and every forgery that they do not."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import jwt
import pytest
from fix_agents import INITIALIZE, JSON, http_client
from fix_identity import Door, Provider, believing, providing
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse

from ostiary.config import Config
from ostiary.config.callers import Attribute

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def begin(url: str, token: str) -> httpx2.Response:
    """The answer to a first request with that token."""
    async with http_client() as http:
        return await http.post(f"{url}/mcp", json=INITIALIZE, headers=JSON | bearer(token))


@pytest.mark.parametrize("way", ["2026-07-28", "legacy", "sse"])
@pytest.mark.asyncio
async def test_the_bearer_of_a_token_is_the_caller_at_every_door(config: Config, way: str, door: Door):
    async with providing() as provider, door(believing(config, provider)) as (url, _):
        headers = bearer(provider.token())
        async with http_client(headers=headers) as http:
            transport = (
                sse_client(f"{url}/sse", headers=headers)
                if way == "sse"
                else streamable_http_client(f"{url}/mcp", http_client=http)
            )
            async with Client(transport, mode="legacy" if way == "sse" else way) as client:
                reply = await client.call_tool("whoami", {})

    assert reply.content[0].text == "alice analyst"  # type: ignore[union-attr]  # our replies are text


@pytest.mark.asyncio
async def test_one_agent_does_not_take_the_sessions_of_all(config: Config, door: Door):
    async with providing() as provider:
        believed = believing(config, provider)
        bounds = believed.http.model_copy(update={"sessions": 6, "sessions_per_agent": 3})
        async with door(believed.model_copy(update={"http": bounds})) as (url, _):
            greedy, other = provider.token(), provider.token(sub="bob")
            taken = await asyncio.gather(*(begin(url, greedy) for _ in range(6)))
            honest = await begin(url, other)
            held = next(reply for reply in taken if reply.status_code == 200)
            async with http_client(headers=bearer(greedy) | {"Mcp-Session-Id": held.headers["mcp-session-id"]}) as http:
                await http.delete(f"{url}/mcp")
            again = await begin(url, greedy)

    assert sorted(reply.status_code for reply in taken) == [200] * 3 + [429] * 3
    assert (honest.status_code, again.status_code) == (200, 200)


@pytest.mark.asyncio
async def test_a_stream_that_nobody_would_hear_is_not_begun(config: Config, door: Door):
    async with providing() as provider, door(believing(config, provider)) as (url, _), http_client(base_url=url) as http:
        asked = await http.head("/sse", headers=bearer(provider.token()))

    assert (asked.status_code, asked.headers.get("allow")) == (405, "GET")


def unsigned(provider: Provider) -> str:
    return jwt.encode(provider.claims(), "", "none", headers={"kid": "k1"})


def signed_with_the_public_key(provider: Provider) -> str:
    """The classic: a verifier that believes the header takes the public key for a shared secret."""

    def encoded(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    signed = encoded(b'{"alg":"HS256","kid":"k1","typ":"at+jwt"}') + b"." + encoded(json.dumps(provider.claims()).encode())
    return (signed + b"." + encoded(hmac.digest(provider.public_pem("k1"), signed, hashlib.sha256))).decode()


def of_a_stranger(provider: Provider) -> str:
    """Signed by another key under the name of a real one."""
    stranger = Provider(url=provider.url)
    stranger.add("k1")
    return stranger.token()


def with_a_key_of_its_own(provider: Provider) -> str:
    stranger = Provider(url=provider.url)
    stranger.add("k1")
    return stranger.token(headers={"jwk": stranger.jwk("k1"), "jku": "http://127.0.0.1:9/keys"})


def changed_after_it_was_signed(provider: Provider) -> str:
    head, _, signature = provider.token().split(".")
    claims = base64.urlsafe_b64encode(json.dumps(provider.claims(sub="root")).encode()).rstrip(b"=").decode()
    return f"{head}.{claims}.{signature}"


def now(seconds: int) -> int:
    return int(time.time()) + seconds


FORGERIES: dict[str, Callable[[Provider], str]] = {
    "algorithm none": unsigned,
    "HS256 with the public key": signed_with_the_public_key,
    "an algorithm the key is not for": lambda p: jwt.encode(p.claims(), p.keys["k1"], "PS256", headers={"kid": "k1"}),
    "an algorithm that is not accepted": lambda p: jwt.encode(p.claims(), p.keys["k1"], "RS512", headers={"kid": "k1"}),
    "a stranger's key": of_a_stranger,
    "a key in the header": with_a_key_of_its_own,
    "changed claims": changed_after_it_was_signed,
    "an unknown key": lambda p: p.token(headers={"kid": "nobody"}),
    "no name of a key": lambda p: jwt.encode(p.claims(), p.keys["k1"], "RS256"),
    "wrong audience": lambda p: p.token(aud="https://other.example/mcp"),
    "audience that only begins like ours": lambda p: p.token(aud="http://127.0.0.1/mcp/other"),
    "no audience": lambda p: p.token(aud=None),
    "wrong issuer": lambda p: p.token(iss="https://evil.example"),
    "issuer with a slash more": lambda p: p.token(iss=p.url + "/"),
    "no issuer": lambda p: p.token(iss=None),
    "expired": lambda p: p.token(exp=now(-120)),
    "no expiry": lambda p: p.token(exp=None),
    "expiry that is no number": lambda p: p.token(exp="never"),
    "infinite expiry": lambda p: p.token(exp=float("inf")),
    "not valid yet": lambda p: p.token(nbf=now(300)),
    "issued in the future": lambda p: p.token(iat=now(300)),
    "a logout token": lambda p: p.token(headers={"typ": "logout+jwt"}),
    "an extension nobody knows": lambda p: p.token(headers={"crit": ["x"], "x": 1}),
    "no agent": lambda p: p.token(sub=None),
    "an agent with a line break": lambda p: p.token(sub="a\nb"),
    "an empty agent": lambda p: p.token(sub=""),
    "long": lambda p: p.token(padding="x" * 10_000),
    "deep": lambda _: base64.urlsafe_b64encode(b"[" * 5_000).decode() + ".e30.e30",
    "no token": lambda _: "garbage",
    "dots": lambda _: "...",
}


WRONG_CLAIMS: dict[str, tuple[str, ...]] = {
    "text": ("1", "true", "null", '["canary"]', '{"canary": 1}'),
    "integer": ("true", "1.0", '"1"', "null", "9223372036854775808"),
    "boolean": ("1", '"true"', "null"),
    "texts": ('"canary"', "[1]", '[["canary"]]', "null", '{"canary": true}'),
}


@pytest.mark.parametrize("type_", WRONG_CLAIMS)
@pytest.mark.asyncio
async def test_a_claim_of_another_type_than_declared_refuses_the_caller_without_its_value(config: Config, door: Door, type_: Any):
    absences: tuple[Any, ...] = (None, {}, "text", [])
    attributes = {"grade": Attribute(type=type_, claim="ext.grade")}
    async with providing() as provider, door(believing(config, provider).model_copy(update={"attributes": attributes})) as (url, _):
        answers = [await begin(url, provider.token(ext={"grade": json.loads(value)})) for value in WRONG_CLAIMS[type_]]
        absent = [await begin(url, provider.token(ext=ext)) for ext in absences]

    said = f"the claim of an attribute cannot be used: `grade` is declared as {type_} and is something else"
    assert [(answer.status_code, answer.text.strip()) for answer in answers] == [(403, said)] * len(answers)
    assert [answer.status_code for answer in absent] == [200] * 4


@pytest.mark.asyncio
async def test_no_forged_token_gets_in(config: Config, door: Door):
    async with providing() as provider, door(believing(config, provider)) as (url, _):
        answers = {name: await begin(url, forge(provider)) for name, forge in FORGERIES.items()}
        sound = await begin(url, provider.token())

    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(FORGERIES, 401)
    assert {answer.text for answer in answers.values()} == {"authentication is required\n"}
    assert sound.status_code == 200


@pytest.mark.asyncio
async def test_a_token_without_a_role_or_a_scope_is_refused_and_told_so(config: Config, door: Door):
    async with providing() as provider, door(believing(config, provider, scopes=("db",))) as (url, _):
        scoped = await begin(url, provider.token(scope="openid"))
        roleless = await begin(url, provider.token(scope="db", roles=["strangers"]))
        sound = await begin(url, provider.token(scope="openid db"))

    assert scoped.status_code == 403
    assert 'error="insufficient_scope", scope="db", resource_metadata="' in scoped.headers["www-authenticate"]
    assert (roleless.status_code, roleless.text) == (403, "no role is given to this caller\n")
    assert sound.status_code == 200


@pytest.mark.asyncio
async def test_a_client_without_a_token_learns_where_to_get_one(config: Config, door: Door):
    async with providing() as provider, door(believing(config, provider)) as (url, _), http_client() as http:
        for path in ("/mcp", "/sse", "/messages/"):
            refused = await http.post(url + path, json=PING) if path != "/sse" else await http.get(url + path)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == (
                'Bearer resource_metadata="http://127.0.0.1/.well-known/oauth-protected-resource/mcp"'
            )
        long = await http.get(f"{url}/.well-known/oauth-protected-resource/mcp")
        short = await http.get(f"{url}/.well-known/oauth-protected-resource")

    assert long.json() == short.json()
    assert long.json()["resource"] == "http://127.0.0.1/mcp"
    assert long.json()["authorization_servers"] == [provider.url]


@pytest.mark.asyncio
async def test_several_credentials_or_another_kind_are_refused(config: Config, door: Door):
    async with providing() as provider, door(believing(config, provider)) as (url, _), http_client() as http:
        good = f"Bearer {provider.token()}"
        twice = await http.post(
            f"{url}/mcp", json=INITIALIZE, headers=[*JSON.items(), ("Authorization", good), ("Authorization", good)]
        )
        basic = await http.post(f"{url}/mcp", json=INITIALIZE, headers=JSON | {"Authorization": "Basic YTpi"})
        asked = await http.post(f"{url}/mcp?access_token={provider.token()}", json=INITIALIZE, headers=JSON)

    assert [answer.status_code for answer in (twice, basic, asked)] == [400, 401, 401]


@pytest.mark.asyncio
async def test_a_token_of_a_megabyte_is_not_read(config: Config, door: Door):
    async with providing() as provider, door(believing(config, provider)) as (url, _):
        with contextlib.suppress(httpx2.TransportError):  # the connection may be closed before all of it is sent
            assert (await begin(url, "x" * 1_000_000)).status_code in (400, 431)
        after = await begin(url, provider.token())

    assert after.status_code == 200


@pytest.mark.asyncio
async def test_keys_may_change_in_mid_session(config: Config, door: Door):
    async with providing() as provider, door(believing(config, provider)) as (url, _), http_client() as http:
        first = await begin(url, provider.token())
        session = JSON | {"Mcp-Session-Id": first.headers["mcp-session-id"]}
        provider.add("k2")
        del provider.keys["k1"]
        later = await http.post(f"{url}/mcp", json=PING, headers=session | bearer(provider.token("k2")))

    assert later.status_code == 200


@pytest.mark.asyncio
async def test_tokens_of_unknown_keys_do_not_make_us_ask_without_end(config: Config, door: Door):
    async with providing() as provider, door(believing(config, provider)) as (url, _):
        await begin(url, provider.token())
        answers = await asyncio.gather(*(begin(url, provider.token(headers={"kid": f"n{n}"})) for n in range(20)))

    # Whoever is not asked for gets no verdict.
    assert {answer.status_code for answer in answers} <= {401, 503}
    assert provider.asked <= 3


async def _endless() -> AsyncIterator[bytes]:
    for _ in range(50):
        yield b" " * 1_000_000


def _jwks(*keys: dict[str, Any]) -> Response:
    return JSONResponse({"keys": list(keys)})


LIES: dict[str, Callable[[Provider], Response]] = {
    "HTML": lambda _: HTMLResponse("<h1>Sign in</h1>"),
    "50 MB": lambda _: StreamingResponse(_endless(), media_type="application/json"),
    "an error": lambda _: Response(status_code=500),
    "a redirect to another scheme": lambda _: RedirectResponse("file:///etc/passwd"),
    "a redirect to itself": lambda p: RedirectResponse(p.url + "/keys"),
    "a list": lambda _: JSONResponse([]),
    "no keys": lambda _: _jwks(),
    "keys that are none": lambda _: JSONResponse({"keys": "k1"}),
    "a key without a name": lambda p: _jwks({k: v for k, v in p.jwk("k1").items() if k != "kid"}),
    "a key for encryption": lambda p: _jwks({**p.jwk("k1"), "use": "enc"}),
    "a shared secret": lambda _: _jwks({"kty": "oct", "kid": "k1", "k": "c2VjcmV0", "alg": "HS256"}),
    "a key of another type than its algorithm": lambda p: _jwks({**p.jwk("k1"), "alg": "ES256"}),
    "numbers where names belong": lambda p: _jwks({**p.jwk("k1"), "kty": ["RSA"], "key_ops": "verify"}, {"kid": 1}),
    "operations that are a number": lambda p: _jwks({**p.jwk("k1"), "key_ops": 1}),
    "half a key": lambda _: _jwks({"kty": "RSA", "kid": "k1", "n": "AQ", "e": "AQAB"}),
    "compressed": lambda _: Response(b"", headers={"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.asyncio
async def test_a_provider_that_lies_lets_nobody_in(config: Config, lie: str, door: Door):
    async with providing() as provider, door(believing(config, provider)) as (url, _):

        async def answer(_: Request) -> Response:
            return LIES[lie](provider)

        provider.answer = answer
        refused = await begin(url, provider.token())

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert refused.text == "who you are cannot be checked now; try again in 5 s\n"
    assert provider.url not in refused.text


@pytest.mark.asyncio
async def test_a_provider_that_stalls_holds_up_nobody_whose_key_is_known(config: Config, door: Door):
    async with providing() as provider, door(believing(config, provider)) as (url, _):
        stalled, over = asyncio.Event(), asyncio.Event()

        async def stall(_: Request) -> Response:
            stalled.set()
            await over.wait()
            return _jwks(provider.jwk("k1"))

        await begin(url, provider.token())
        provider.answer = stall
        waiting = asyncio.create_task(begin(url, provider.token(headers={"kid": "new"})))
        await stalled.wait()
        known = await begin(url, provider.token())
        ended_meanwhile = waiting.done()
        over.set()
        refused = await waiting

    assert (known.status_code, ended_meanwhile, refused.status_code) == (200, False, 401)


@pytest.mark.asyncio
async def test_another_caller_finds_no_session_of_the_first(config: Config, door: Door):
    async with providing() as provider, door(believing(config, provider)) as (url, _), http_client() as http:
        first = await begin(url, provider.token())
        session = JSON | {"Mcp-Session-Id": first.headers["mcp-session-id"]}
        own = await http.post(f"{url}/mcp", json=PING, headers=session | bearer(provider.token()))
        other = await http.post(f"{url}/mcp", json=PING, headers=session | bearer(provider.token(sub="mallory")))
        nowhere = await http.post(f"{url}/mcp", json=PING, headers=JSON | {"Mcp-Session-Id": "0" * 32} | bearer(provider.token()))
        async with http.stream("GET", f"{url}/sse", headers=bearer(provider.token())) as stream:
            place = ""
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    place = line.removeprefix("data: ")
                    break
            taken = await http.post(url + place, json=PING, headers=bearer(provider.token(sub="mallory")))
            sent = await http.post(url + place, json=PING, headers=bearer(provider.token()))
        absent = await http.post(f"{url}/messages/?session_id={'0' * 32}", json=PING, headers=bearer(provider.token()))

    assert (own.status_code, other.status_code, sent.status_code, taken.status_code) == (200, 404, 202, 404)
    assert (other.text, taken.text) == (nowhere.text, absent.text)
