"""Asks an identity provider for its keys, and believes nothing of the answer but them.

No redirect is followed and no proxy of the environment used: the addresses are the
configured ones, or those that the provider's own metadata names. Whatever goes wrong is
an Unreachable that says so in a sentence.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2
from pydantic import TypeAdapter, ValidationError

from ostiary.config.callers import Url
from ostiary.identity.caller import Unreachable
from ostiary.identity.keys import Key, keys_of

_PATIENCE_S = 5.0
"""For one whole answer; a provider that sends a byte now and then gets no more."""
_BYTES = 512_000
_url = TypeAdapter(Url)


def client() -> httpx2.AsyncClient:
    """What asks; close it."""
    return httpx2.AsyncClient(
        follow_redirects=False,
        timeout=_PATIENCE_S,
        trust_env=False,
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
    )


async def keys(http: httpx2.AsyncClient, issuer: str, jwks_url: str | None) -> dict[str, Key]:
    """The provider's usable keys, never none. Raises Unreachable."""
    url = jwks_url or await _discovered(http, issuer)
    found = keys_of(await _document(http, url))
    if not found:
        raise Unreachable(f"`{url}` holds no key that could be used")
    return found


async def _discovered(http: httpx2.AsyncClient, issuer: str) -> str:
    """Where the keys are, by the metadata of RFC 8414 or OpenID Connect. Raises Unreachable."""
    problem = Unreachable(f"`{issuer}` has no metadata")
    for url in _metadata_urls(issuer):
        try:
            return _keys_url(await _document(http, url), url, issuer)
        except Unreachable as error:
            problem = error
    raise problem


def _keys_url(metadata: Mapping[str, Any], url: str, issuer: str) -> str:
    if metadata.get("issuer") != issuer:
        raise Unreachable(f"`{url}` is the metadata of another issuer")
    try:
        found = _url.validate_python(metadata.get("jwks_uri"))
    except ValidationError:
        found = ""
    # An issuer elsewhere must not lead us to a service of this machine.
    if urlsplit(found).scheme not in ("https", urlsplit(issuer).scheme):
        raise Unreachable(f"`{url}` names no `https://` address of keys")
    return found


def _metadata_urls(issuer: str) -> tuple[str, str]:
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    return (
        f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{path}",
        f"{parts.scheme}://{parts.netloc}{path}/.well-known/openid-configuration",
    )


async def _document(http: httpx2.AsyncClient, url: str) -> Mapping[str, Any]:
    """A JSON object. Raises Unreachable."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            found = json.loads(await _body(http, url))
    except TimeoutError:
        raise Unreachable(f"`{url}` did not answer within {_PATIENCE_S:g} seconds") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise Unreachable(f"`{url}` cannot be asked: {type(error).__name__}") from None
    except (ValueError, RecursionError):
        raise Unreachable(f"`{url}` did not answer with JSON") from None
    if not isinstance(found, dict):
        raise Unreachable(f"`{url}` did not answer with a JSON object")
    return found


async def _body(http: httpx2.AsyncClient, url: str) -> bytes:
    async with http.stream("GET", url) as response:
        if response.status_code != httpx2.codes.OK:
            raise Unreachable(f"`{url}` answered {response.status_code}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise Unreachable(f"`{url}` answered compressed, which was not asked for")
        body = bytearray()
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > _BYTES:
                raise Unreachable(f"`{url}` answered with more than {_BYTES:,} bytes")
        return bytes(body)
