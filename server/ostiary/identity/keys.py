"""A provider's public keys: what of a JWK set is usable, and for which signatures.

A key fits the algorithms of its own type and curve, or the one it names, and no other:
whoever writes a token's header does not choose how a key is used. Shared secrets, keys
for encryption and keys without a name are passed over.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

_FITTING: Mapping[tuple[object, object], tuple[str, ...]] = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
_PUBLIC = ("kty", "crv", "n", "e", "x", "y")
"""A provider that publishes a private key gets it used as a public one."""
_RSA_BITS = 2048
_KEYS = 100
"""In one set; a provider has a handful."""

Public = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class Key:
    """A public key and the algorithms it may verify."""

    public: Public
    algorithms: frozenset[str]


def keys_of(document: Mapping[str, Any]) -> dict[str, Key]:
    """The usable keys of a JWK set by name; empty for anything else. Of two with one name the first counts."""
    listed = document.get("keys")
    found: dict[str, Key] = {}
    for jwk in listed[:_KEYS] if isinstance(listed, list) else ():
        kid = jwk.get("kid") if isinstance(jwk, dict) else None
        if isinstance(kid, str) and kid and (key := _key(jwk)) is not None:
            found.setdefault(kid, key)
    return found


def _key(jwk: Mapping[str, Any]) -> Key | None:
    family = (jwk.get("kty"), jwk.get("crv") if jwk.get("kty") != "RSA" else None)
    fitting = _FITTING.get(family, ()) if all(isinstance(part, str | None) for part in family) else ()
    named = [name for name in fitting if jwk.get("alg") in (None, name)]
    operations = jwk.get("key_ops", ["verify"])
    if not named or jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        public = get_default_algorithms()[named[0]].from_jwk({part: jwk[part] for part in _PUBLIC if part in jwk})
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if not isinstance(public, Public) or (isinstance(public, rsa.RSAPublicKey) and public.key_size < _RSA_BITS):
        return None
    return Key(public, frozenset(named))
