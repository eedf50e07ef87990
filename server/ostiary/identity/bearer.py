"""The bearer token of a request (RFC 6750), from the header alone: what stands in an address is logged everywhere."""

from starlette.datastructures import Headers

from ostiary.identity.caller import NotRecognised


def bearer_token(headers: Headers) -> str | None:
    """The token, or `None` when the request brings none. Raises NotRecognised when it brings several."""
    given = headers.getlist("authorization")
    if len(given) > 1:
        raise NotRecognised("the request has several `Authorization` headers")
    scheme, _, token = given[0].partition(" ") if given else ("", "", "")
    return token.strip() or None if scheme.lower() == "bearer" else None
