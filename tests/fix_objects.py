"""A server that speaks S3, on loopback, in a process of its own; and a place between it and its clients where things go wrong."""

import json
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fix_backup import Vault

from ostiary_tools.backup.keys import new_identity
from ostiary_tools.backup.repository import Repository, initialise, open_repository
from ostiary_tools.backup.sealing import load_signer
from ostiary_tools.backup.storage import lease
from ostiary_tools.backup.storage.bucket import Address, Patience, open_bucket
from ostiary_tools.backup.storage.objects import Objects

_RUN = """
import base64, hashlib, io, os, sys, threading
from moto.server import create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()  # its starter is gone
one_at_a_time, answer = threading.Lock(), create_backend_app("s3")

def atomic(environ, start_response):
    # A store that offers conditional writes compares and writes at once; this one must be made to.
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    # It also takes checksums for one header of Amazon's alone, and compares none.
    stated = environ.get("HTTP_X_AMZ_CHECKSUM_SHA256")
    if stated:
        environ["HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM"] = "SHA256"
        if stated != base64.b64encode(hashlib.sha256(body).digest()).decode():
            start_response("400 Bad Request", [("Content-Length", "0")])
            return [b""]
    with one_at_a_time:
        return list(answer(environ, start_response))

class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    def log(self, *_):
        pass

server = make_server("127.0.0.1", 0, atomic, threaded=True, request_handler=Quiet)
print(server.port, flush=True)
server.serve_forever()
"""
KEYS = ("testing", "a secret of tests")
IMPATIENT = Patience(request_s=5, tries=4, whole_s=20, pause_s=0.01)


@dataclass(frozen=True, slots=True)
class ObjectServer:
    """Where it is."""

    endpoint: str

    def client(self) -> Any:
        """Another program for S3 than ours."""
        import boto3  # only these tests need it
        from botocore.config import Config

        return boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id=KEYS[0], aws_secret_access_key=KEYS[1],
            config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
        )  # fmt: skip

    def bucket(self, **how: Any) -> Address:
        """A new one, and a part of it."""
        name = f"backups-{secrets.token_hex(4)}"
        self.client().create_bucket(Bucket=name, **how)
        return Address(name, "of/ours", self.endpoint, "us-east-1", *KEYS)


@pytest.fixture(scope="session")
def object_server() -> Iterator[ObjectServer]:
    server = subprocess.Popen(
        [sys.executable, "-c", _RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert server.stdout is not None
        yield ObjectServer(f"http://127.0.0.1:{json.loads(server.stdout.readline())}")
    finally:
        server.kill()
        server.communicate()


def object_vault(storage: Objects, home: Path) -> Vault:
    """A repository in a bucket, ready for backups, whose keys lie in `home`."""
    signer, own, recovery = load_signer(home / "signing.key"), new_identity(), new_identity()
    initialise(storage, signer, own.recipient, recovery.recipient)
    made = open_repository(storage, signer.seal, signer, (own,))
    assert made.prove((recovery,))
    return Vault(home / "backups", made, own, recovery)


def reopened_there(home: Path, address: Address, patience: Patience = IMPATIENT) -> Repository:
    """The repository of `object_vault(…, home)`, to write to, in another process or on another way."""
    signer = load_signer(home / "signing.key")
    return open_repository(Objects(open_bucket(address, patience)), signer.seal, signer)


def object_keys(server: ObjectServer, address: Address) -> list[str]:
    """All objects of a bucket, as another program sees them, but for what the store's clock is read by."""
    pages = server.client().get_paginator("list_objects_v2").paginate(Bucket=address.bucket)
    found = [one["Key"].removeprefix(f"{address.prefix}/") for page in pages for one in page.get("Contents", [])]
    return [key for key in found if not key.startswith("_clock/")]


def in_bucket(address: Address, folder: Path) -> str:
    """What names it in a configuration; the credentials lie in that folder."""
    for name, value in zip(("access", "secret"), KEYS, strict=True):
        (folder / name).write_text(value)
        (folder / name).chmod(0o600)
    return (
        f'[backup]\nrepository = "{address.url}"\nendpoint = "{address.endpoint}"\nregion = "{address.region}"\n'
        f'access_key = "file:{folder}/access"\nsecret_key = "file:{folder}/secret"\n'
    )


@contextmanager
def a_minute_later() -> Iterator[None]:
    """Whatever leases there are have run out while the block lasts; to wait until they have would take a minute for each."""
    with pytest.MonkeyPatch.context() as now:
        now.setattr(lease, "HELD_S", -1)
        yield


NewObjects = Callable[[], Objects]


@pytest.fixture
def new_objects(object_server: ObjectServer) -> NewObjects:
    """A storage in a new bucket."""
    return lambda: Objects(open_bucket(object_server.bucket(), IMPATIENT))
