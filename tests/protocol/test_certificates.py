"""The header of a proxy that has checked a client certificate, over real HTTP."""

from pathlib import Path

import pytest
from fix_agents import INITIALIZE, JSON, http_client
from fix_identity import Door
from starlette.requests import HTTPConnection

from ostiary.config import Config, load
from ostiary.identity.caller import Caller
from ostiary_policies.attributes import AttributeType, attribute

SUBJECT = "CN=nightly,O=Example"


def believing(folder: Path, network: str) -> Config:
    """The configuration of a server whose proxy is in that network."""
    path = folder / "ostiary.toml"
    path.write_text(
        f"[http]\nauthentication = ['proxy']\n[proxy]\naddresses = ['{network}']\n"
        f"[certificates.nightly]\nsubject = '{SUBJECT}'\nroles = ['analyst']\n"
    )
    return load(path, {"HOME": str(folder)}, {})


async def begin(url: str, *headers: tuple[str, str]) -> int:
    async with http_client() as http:
        return (await http.post(f"{url}/mcp", json=INITIALIZE, headers=[*JSON.items(), *headers])).status_code


@pytest.mark.asyncio
async def test_the_subject_is_believed_once_whole_and_from_the_proxy(tmp_path: Path, door: Door):
    async with door(believing(tmp_path, "127.0.0.0/8")) as (url, _):
        given = {
            "right": await begin(url, ("X-Client-Subject", SUBJECT)),
            "without": await begin(url),
            "empty": await begin(url, ("X-Client-Subject", "")),
            "unknown": await begin(url, ("X-Client-Subject", "CN=other")),
            "longer": await begin(url, ("X-Client-Subject", f"{SUBJECT},OU=x")),
            "other case": await begin(url, ("X-Client-Subject", SUBJECT.lower())),
            "twice": await begin(url, ("X-Client-Subject", SUBJECT), ("x-client-subject", SUBJECT)),
            "with a token": await begin(url, ("X-Client-Subject", ""), ("Authorization", "Bearer x")),
        }

    assert given.pop("right") == 200
    assert set(given.values()) == {401}


@pytest.mark.asyncio
async def test_the_header_is_refused_from_anybody_else_whatever_he_says_of_his_address(tmp_path: Path, door: Door):
    async with door(believing(tmp_path, "10.0.0.7")) as (url, _):
        plain = await begin(url, ("X-Client-Subject", SUBJECT))
        claimed = await begin(url, ("X-Client-Subject", SUBJECT), ("X-Forwarded-For", "10.0.0.7"), ("Forwarded", "for=10.0.0.7"))

    assert (plain, claimed) == (401, 401)


@pytest.mark.asyncio
async def test_the_holder_has_the_attributes_that_the_configuration_gives_its_agent(tmp_path: Path, door: Door):
    believing(tmp_path, "127.0.0.1")
    path = tmp_path / "ostiary.toml"
    path.write_text(f"{path.read_text()}[attributes.region]\ntype = 'text'\nagents = {{ nightly = 'eu', weekly = 'us' }}\n")
    async with door(load(path, {"HOME": str(tmp_path)}, {})) as (_, recognition):
        scope = {"type": "http", "client": ("127.0.0.1", 1), "headers": [(b"x-client-subject", SUBJECT.encode())]}
        caller = await recognition.caller(HTTPConnection(scope))

    assert isinstance(caller, Caller)
    assert caller.principal.attributes == (attribute("region", AttributeType.TEXT, "eu"),)
