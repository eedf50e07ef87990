"""What Chroma raises, in words. Its own messages can quote what it was given, and are not passed on."""

from ostiary_tools.errors import NoCollection, ToolError, Unavailable

_HALF_GONE = " segment]"
"""What ends the words of Chroma for a collection whose parts are being dropped: `[Missing metadata segment]`."""


def in_words(error: BaseException) -> ToolError:
    """Chroma raises plain exceptions for what a server answered, and one that is no `Exception` where it panics."""
    from chromadb import errors  # an extra, and heavy

    match error:
        case _ if isinstance(error, errors.NotFoundError) or ("[Missing " in str(error) and _HALF_GONE in str(error)):
            return NoCollection("the store does not hold the collection", "it was dropped, or its store was replaced")
        case errors.ChromaAuthError() | errors.AuthorizationError():
            return Unavailable("the Chroma server does not accept the key", "correct the store's `key`")
        case errors.InvalidArgumentError() | errors.InvalidDimensionException() | ValueError() | TypeError():
            return ToolError("Chroma does not take what it was asked", "ask for something simpler")
        case _:
            return Unavailable("the Chroma store cannot be reached or did not answer in time", "see that it runs, then try again")
