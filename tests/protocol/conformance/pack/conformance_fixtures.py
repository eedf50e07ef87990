"""The tools, resources and prompts that the conformance suite calls by fixed names, as a tool pack like any other."""

import asyncio
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from ostiary_tools.api import (
    Args,
    Audio,
    Content,
    Embedded,
    Form,
    Hints,
    Image,
    Intent,
    Permit,
    Question,
    Refused,
    Result,
    Roots,
    Sampling,
    Session,
    Surface,
    Text,
    Tool,
    World,
)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


RED_DOT = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"\0\xff\0\0"))
    + _chunk(b"IEND", b"")
)
"""A PNG of one pixel."""
SILENCE = b"RIFF" + struct.pack("<I4s4sIHHIIHH4sI", 36, b"WAVE", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8, b"data", 0)
"""A WAV without a sample."""


class Nothing(Args):
    """No arguments."""


@dataclass(frozen=True)
class Fixture:
    """Says the same every time."""

    name: str
    answer: Callable[[Any], Result]
    surface: Surface = Surface.TOOL
    args: type[Args] = Nothing
    hints: Hints = field(default_factory=Hints)

    @property
    def title(self) -> str:
        """The name, for people."""
        return self.name.replace("_", " ")

    @property
    def description(self) -> str:
        """What every fixture is for."""
        return "A fixture of the conformance suite."

    def plan(self, args: Args, world: World) -> Intent:  # noqa: ARG002 - the protocol's shape
        """Nothing of any database."""
        return Intent(self.name, args.model_dump(mode="json"))

    async def run(self, permit: Permit, session: Session) -> Result:  # noqa: ARG002 - the protocol's shape
        """The answer."""
        return self.answer(self.args.model_validate(permit.intent.arguments))


@dataclass(frozen=True)
class FixedResource(Fixture):
    """The same at one address, or for each of a template."""

    surface: Surface = Surface.RESOURCE
    uri: str = ""
    mime_type: str = "text/plain"


@dataclass(frozen=True)
class Reporting(Fixture):
    """Tells how far it is."""

    async def run(self, permit: Permit, session: Session) -> Result:
        """Three reports, some time apart."""
        for done in (0, 50, 100):
            await session.progress(done, 100)
            await asyncio.sleep(0.05)
        return await super().run(permit, session)


class TwoWords(Args):
    """Arguments of a prompt."""

    arg1: Annotated[str, Field(description="First test argument.")]
    arg2: Annotated[str, Field(description="Second test argument.")]


class Address(Args):
    """Argument of a prompt that embeds a resource."""

    resourceUri: Annotated[str, Field(description="Address of the resource.")]  # noqa: N815 - the suite's name for it


class Id(Args):
    """Variable of an address."""

    id: str


@dataclass(frozen=True)
class Asking(Fixture):
    """Asks before it answers; in rounds, each of which has a state of its own."""

    rounds: tuple[Mapping[str, Question], ...] = ()
    stateful: bool = False
    answer: Callable[[Any], Result] = lambda _: Text("asked and answered")

    def plan(self, args: Args, world: World) -> Intent:
        """Ask the questions of the round that the state names, of those that this client can answer."""
        client = world.client
        for number in range(int(client.state or 0), len(self.rounds)):
            client.ask(self.rounds[number], str(number) if self.stateful else "")
            client = replace(client, given={})
        return super().plan(args, world)


@dataclass(frozen=True)
class Able(Fixture):
    """Asks whatever the client can answer."""

    def plan(self, args: Args, world: World) -> Intent:
        """One question of each kind."""
        world.client.ask({key: question for key, question in _THREE.items() if type(question) in world.client.kinds})
        return super().plan(args, world)


def _fail(_: Args) -> Result:
    raise Refused("fixture", "this tool intentionally returns an error for testing")


def _by_id(args: Id) -> Result:
    return Text(json.dumps({"id": args.id, "templateTest": True, "data": f"Data for ID: {args.id}"}))


def _said(text: str) -> Callable[[Any], Result]:
    return lambda _: Text(text)


def _shown(*blocks: Text | Image | Audio | Embedded) -> Callable[[Any], Result]:
    return lambda _: Content(blocks)


def _two_words(args: TwoWords) -> Result:
    return Text(f"Prompt with arguments: arg1='{args.arg1}', arg2='{args.arg2}'")


def _embedding(args: Address) -> Result:
    resource = Embedded(args.resourceUri, "Embedded resource content for testing.")
    return Content((resource, Text("Please process the embedded resource above.")))


_MIXED = (
    Text("Multiple content types test:"),
    Image(RED_DOT),
    Embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json"),
)


class Named(Args):
    """A name."""

    name: str


class Coloured(Args):
    """A colour."""

    color: str


class Confirmed(Args):
    """A yes."""

    ok: bool


class InContext(Args):
    """A context."""

    context: str


class Contact(Args):
    """Who somebody is."""

    username: Annotated[str, Field(description="User's response")]
    email: Annotated[str, Field(description="User's email address")]


class Defaults(Args):
    """A default of each primitive type."""

    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Literal["active", "inactive", "pending"] = "active"
    verified: bool = True


_PLAIN = ["option1", "option2", "option3"]
_TITLED = [{"const": f"value{n}", "title": f"{word} Option"} for n, word in enumerate(("First", "Second", "Third"), 1)]
_OLD = {"enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]}


class Enums(Args):
    """Every way to offer a choice."""

    untitledSingle: Annotated[str, Field(json_schema_extra={"enum": _PLAIN})]  # noqa: N815 - the suite's name for it
    titledSingle: Annotated[str, Field(json_schema_extra={"oneOf": _TITLED})]  # noqa: N815
    legacyEnum: Annotated[str, Field(json_schema_extra=_OLD)]  # noqa: N815
    untitledMulti: Annotated[list[str], Field(json_schema_extra={"items": {"type": "string", "enum": _PLAIN}})]  # noqa: N815
    titledMulti: Annotated[list[str], Field(json_schema_extra={"items": {"anyOf": _TITLED}})]  # noqa: N815


_NAME = Form("What is your name?", Named)
_CONFIRM = {"confirm": Form("Please confirm", Confirmed)}
_THREE: Mapping[str, Question] = {"user_name": _NAME, "greeting": Sampling("Generate a greeting", 50), "client_roots": Roots()}
_STEPS: tuple[Mapping[str, Question], ...] = ({"step1": _NAME}, {"step2": Form("What is your favorite color?", Coloured)})


class Message(Args):
    """What to ask."""

    message: str = "?"


def _asking(name: str, *rounds: Mapping[str, Question], stateful: bool = False, **more: Any) -> Asking:
    return Asking(name=name, rounds=rounds, stateful=stateful, **more)


def pack() -> tuple[Tool[Any], ...]:
    """Everything the suite needs."""
    return (
        Fixture("test_simple_text", _said("This is a simple text response for testing.")),
        Fixture("test_image_content", _shown(Image(RED_DOT))),
        Fixture("test_audio_content", _shown(Audio(SILENCE))),
        Fixture("test_embedded_resource", _shown(Embedded("test://embedded-resource", "This is an embedded resource content."))),
        Fixture("test_multiple_content_types", _shown(*_MIXED)),
        Fixture("test_error_handling", _fail),
        Fixture("test_logging_tool", _said("This server never logs to its clients.")),
        _asking("test_streaming_elicitation", {"user_name": _NAME}),
        _asking("test_missing_capability", {"greeting": Sampling("Hello")}),
        _asking("test_elicitation", {"contact": Form("Who are you?", Contact)}, args=Message),
        _asking("test_elicitation_sep1034_defaults", {"all": Form("Defaults", Defaults)}),
        _asking("test_elicitation_sep1330_enums", {"all": Form("Choices", Enums)}),
        _asking("test_input_required_result_elicitation", {"user_name": _NAME}),
        _asking("test_input_required_result_sampling", {"capital_question": Sampling("What is the capital of France?", 100)}),
        _asking("test_input_required_result_list_roots", {"client_roots": Roots()}),
        _asking("test_input_required_result_request_state", _CONFIRM, stateful=True, answer=_said("state-ok")),
        _asking("test_input_required_result_tampered_state", _CONFIRM, stateful=True),
        _asking("test_input_required_result_multiple_inputs", _THREE, stateful=True),
        _asking("test_input_required_result_multi_round", *_STEPS, stateful=True),
        Able("test_input_required_result_capabilities", _said("asked and answered")),
        _asking(
            "test_input_required_result_prompt",
            {"user_context": Form("What context should the prompt use?", InContext)},
            surface=Surface.PROMPT,
        ),
        Reporting("test_tool_with_progress", _said("done")),
        FixedResource("static_text", _said("This is the content of the static text resource."), uri="test://static-text"),
        FixedResource("static_binary", _shown(Image(RED_DOT)), uri="test://static-binary", mime_type="image/png"),
        FixedResource("watched", _said("watched"), uri="test://watched-resource"),
        FixedResource("by_id", _by_id, args=Id, uri="test://template/{id}/data", mime_type="application/json"),
        Fixture("test_simple_prompt", _said("This is a simple prompt for testing."), Surface.PROMPT),
        Fixture("test_prompt_with_arguments", _two_words, Surface.PROMPT, TwoWords),
        Fixture("test_prompt_with_embedded_resource", _embedding, Surface.PROMPT, Address),
        Fixture("test_prompt_with_image", _shown(Image(RED_DOT), Text("Please analyze the image above.")), Surface.PROMPT),
    )
