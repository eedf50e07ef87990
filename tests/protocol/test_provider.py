"""Keys of a provider over real HTTP: how long they are believed, and what a hostile or slow provider does to callers."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fix_agents import http_client
from fix_identity import Door, Provider, believing, listening, providing
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from ostiary.config import Config
from ostiary.identity import provider as asking
from ostiary.identity.caller import NotRecognised, Unreachable
from ostiary.identity.keyring import FRESH_S, KEPT_S, Keyring


@contextlib.asynccontextmanager
async def ring(provider: Provider, now: list[float]) -> AsyncIterator[Keyring]:
    """The provider's keys, by a clock that the test sets."""
    async with asking.client() as http:
        made = Keyring(lambda: asking.keys(http, provider.url, None), lambda: now[0])
        try:
            yield made
        finally:
            await made.close()


async def gone(_: Request) -> Response:
    return Response(status_code=500)


@pytest.mark.asyncio
async def test_a_key_that_was_withdrawn_is_refused_once_it_is_no_longer_fresh():
    now = [0.0]
    async with providing() as provider, ring(provider, now) as keys:
        await keys.key("k1")
        provider.add("k2")
        del provider.keys["k1"]
        now[0] = FRESH_S - 1
        await keys.key("k1")
        now[0] = FRESH_S
        with pytest.raises(NotRecognised):
            await keys.key("k1")
        await keys.key("k2")


@pytest.mark.asyncio
async def test_known_keys_are_believed_for_an_hour_while_the_provider_is_away_and_no_longer():
    now = [0.0]
    async with providing() as provider, ring(provider, now) as keys:
        await keys.key("k1")
        provider.answer = gone
        now[0] = KEPT_S - 1
        await keys.key("k1")
        with pytest.raises(Unreachable):
            await keys.key("k2")
        now[0] = KEPT_S
        with pytest.raises(Unreachable):
            await keys.key("k1")


@pytest.mark.asyncio
async def test_names_of_keys_that_do_not_exist_keep_nobody_from_a_new_one():
    now = [0.0]
    async with providing() as provider, ring(provider, now) as keys:
        for n in range(3):
            with pytest.raises(NotRecognised):
                await keys.key(f"bogus{n}")
        provider.add("k2")
        with pytest.raises(Unreachable):
            await keys.key("k2")
        asked = provider.asked
        now[0] = 31.0
        await keys.key("k2")

    assert asked == 3


@pytest.mark.asyncio
async def test_once_a_provider_has_stalled_callers_with_known_keys_wait_for_it_no_more():
    now = [0.0]
    async with providing() as provider, ring(provider, now) as keys:
        over = asyncio.Event()

        async def stall(_: Request) -> Response:
            await over.wait()
            return Response(status_code=500)

        await keys.key("k1")
        provider.answer, now[0] = stall, FRESH_S
        await keys.key("k1")
        second = asyncio.create_task(keys.key("k1"))
        # Turns of the loop and no time: whoever waited for the provider would not be done in them, since it stalls to the end.
        for _ in range(10):
            await asyncio.sleep(0)
        answered = second.done()
        await second
        over.set()

    assert answered


HOSTILE: dict[str, Any] = {
    "no operations": {"key_ops": None},
    "operations in a list of a list": {"key_ops": [["verify"]]},
    "use that is an object": {"use": {}},
    "an algorithm that is a list": {"alg": ["RS256"]},
    "a number for a modulus": {"n": 5},
    "a modulus that is no text": {"n": {"a": 1}},
    "an exponent of a page": {"e": "A" * 5_000},
    "a type that is an object": {"kty": {}},
}


@pytest.mark.parametrize("broken", HOSTILE)
@pytest.mark.asyncio
async def test_a_broken_key_keeps_no_good_one_out_and_no_withdrawn_one_in(broken: str):
    now = [0.0]
    async with providing() as provider, ring(provider, now) as keys:
        await keys.key("k1")
        provider.add("k2")

        async def answer(_: Request) -> Response:
            return JSONResponse({"keys": [{**provider.jwk("k1"), "kid": "k0", **HOSTILE[broken]}, provider.jwk("k2")]})

        provider.answer, now[0] = answer, FRESH_S
        with pytest.raises(NotRecognised):
            await keys.key("k1")
        await keys.key("k2")


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_provider_that_drips_gets_no_more_than_its_time(config: Config, door: Door):
    async with providing() as provider, door(believing(config, provider)) as (url, _), http_client(timeout=30) as http:
        ended = asyncio.Event()

        async def drops() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b" "
                    await asyncio.sleep(0.05)  # the attack itself: a byte now and then, so that no single read takes too long
            finally:
                ended.set()

        async def drip(_: Request) -> Response:
            return StreamingResponse(drops(), media_type="application/json")

        provider.answer = drip
        refused = await http.post(f"{url}/mcp", headers={"Authorization": f"Bearer {provider.token()}"}, json={})
        async with asyncio.timeout(10):
            await ended.wait()

    assert refused.status_code == 503


@pytest.mark.asyncio
async def test_a_remote_issuer_cannot_name_an_address_of_this_machine_over_plain_http(tmp_path: Path):
    """The provider speaks TLS, and names an inner service as the place of its keys."""
    certificate = own_certificate(tmp_path)
    async with providing() as inner:

        class Lying(Provider):
            async def _response(self, _: Request) -> Response:
                return JSONResponse({"issuer": self.url, "jwks_uri": f"{inner.url}/keys"})

        lying = Lying()
        settings = {"ssl_certfile": str(certificate), "ssl_keyfile": str(certificate)}
        async with listening(lying, **settings) as url:
            lying.url = url.replace("http:", "https:")
            trusting = ssl.create_default_context(cafile=str(certificate))
            async with http_client(verify=trusting, trust_env=False) as http:
                with pytest.raises(Unreachable, match="names no `https://` address"):
                    await asking.keys(http, lying.url, None)

    assert inner.asked == 0


def own_certificate(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "provider")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "provider.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM))
    return path
