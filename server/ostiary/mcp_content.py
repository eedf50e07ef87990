"""Replies as the protocol's content: blocks of a result, messages of a prompt, contents of a resource."""

from base64 import b64encode
from typing import Any

import mcp.types as t

from ostiary.shape import Reply
from ostiary_tools.api import ResourceTool
from ostiary_tools.result import Audio, Block, Embedded, Image, Job, Text


def result_of(reply: Reply) -> t.CallToolResult:
    """What `tools/call` answers."""
    structured = dict(reply.structured) if reply.structured is not None else None
    return t.CallToolResult(content=blocks_of(reply), structured_content=structured)


def job_of(job: Job) -> t.CallToolResult:
    """What `tools/call` answers for a call that goes on."""
    return t.CallToolResult(content=[t.TextContent(text=f'it goes on as a job: job(id="{job.id}") says how it stands')])


def messages_of(reply: Reply) -> list[t.PromptMessage]:
    """What `prompts/get` answers: a message of the user for each block."""
    return [t.PromptMessage(role="user", content=block) for block in blocks_of(reply)]


def contents_of(reply: Reply, uri: str, mime_type: str) -> list[t.TextResourceContents | t.BlobResourceContents]:
    """What `resources/read` answers under that address."""
    blocks = reply.blocks or (Text(reply.text),)
    return [_contents(_embedded(block, uri, mime_type)) for block in blocks]


def blocks_of(reply: Reply) -> list[t.ContentBlock]:
    """The reply's blocks; its text is one where it has no others."""
    return [_block(block) for block in reply.blocks] if reply.blocks else [t.TextContent(text=reply.text)]


def resource_of(tool: ResourceTool[Any]) -> t.Resource:
    """As `resources/list` names it."""
    return t.Resource(
        uri=tool.uri, name=tool.name, title=tool.title, description=tool.description or None, mime_type=tool.mime_type
    )


def template_of(tool: ResourceTool[Any]) -> t.ResourceTemplate:
    """As `resources/templates/list` names it."""
    return t.ResourceTemplate(
        uri_template=tool.uri, name=tool.name, title=tool.title, description=tool.description or None, mime_type=tool.mime_type
    )


def _block(block: Block) -> t.ContentBlock:
    match block:
        case Text(text=text):
            return t.TextContent(text=text)
        case Image(data=data, mime_type=mime_type):
            return t.ImageContent(data=_base64(data), mime_type=mime_type)
        case Audio(data=data, mime_type=mime_type):
            return t.AudioContent(data=_base64(data), mime_type=mime_type)
        case Embedded():
            return t.EmbeddedResource(resource=_contents(block))


def _embedded(block: Block, uri: str, mime_type: str) -> Embedded:
    match block:
        case Embedded():
            return block
        case Text(text=text):
            return Embedded(uri, text, mime_type)
        case Image() | Audio():
            return Embedded(uri, block.data, block.mime_type)


def _contents(block: Embedded) -> t.TextResourceContents | t.BlobResourceContents:
    if isinstance(block.data, str):
        return t.TextResourceContents(uri=block.uri, mime_type=block.mime_type, text=block.data)
    return t.BlobResourceContents(uri=block.uri, mime_type=block.mime_type, blob=_base64(block.data))


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")
