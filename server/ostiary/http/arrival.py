"""A request whose client left before all of it had come is nobody's: it is not answered.

Left to the SDK, half a request would open a session, fail, and be logged as a failure of ours.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ostiary.http.mirroring import mismatch


class Arrived:
    """ASGI middleware: passes whole requests on; stands behind what reads them to their end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, refuse it, or end it without an answer."""
        given = await receive()
        if given["type"] != "http.request" or given.get("more_body"):
            return
        if (refused := mismatch(scope, given)) is not None:
            await refused(scope, receive, send)
            return
        first: Message | None = given

        async def again() -> Message:
            nonlocal first
            message, first = first, None
            return message or await receive()

        await self._app(scope, again, send)
