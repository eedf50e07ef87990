"""Documents in chunks, of every kind."""

import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ostiary_tools.chunking.cutting import Chunking, Kind, chunks_of, kind_of, storable
from ostiary_tools.chunking.digest import digest_of
from ostiary_tools.chunking.template import parsed
from ostiary_tools.embedders.opening import opened
from ostiary_tools.errors import Refused


def by_words(text: str) -> int:
    return len(text.split())


def by_special(text: str) -> int:
    """As models count that put something before and after each text."""
    return len(text) + 2


COUNTS: list[Callable[[str], int]] = [by_words, len, by_special, opened({})["wordllama"].tokens]
PIECES = st.sampled_from(
    [
        *("# One", "## Two", "### Three\n", "Title\n===", "---", "```python", "```", "~~~~", "| a | b |", "|---|---|", "- item"),
        *("def f():", "    def g(self):", "class A:", "    x = 1", "@wraps", '"""', "'''", "# why", ")", "return 'it''s'"),
        *("A sentence. Another one! ", "word ", "日本語。", "🎉", "x" * 70, "\n", "\n\n", "  \n\t\n", " ", "\r\n", "\\", "…", "\0"),
    ]
)
TEXTS = st.one_of(st.lists(PIECES, max_size=60).map("\n".join), st.lists(PIECES, max_size=60).map("".join), st.text(max_size=400))
TEXT_KINDS = [Kind.TEXT, Kind.MARKDOWN, Kind.PYTHON, Kind.CODE]


def seen(text: str) -> str:
    return "".join(storable(text).split())


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.sampled_from(TEXT_KINDS), st.sampled_from([16, 20, 64]), st.sampled_from(COUNTS))
@example("#" * 300, Kind.MARKDOWN, 16, len)
@example("# " + "long title " * 30 + "\nbody\n" * 40, Kind.MARKDOWN, 16, by_words)
def test_nothing_of_a_text_is_lost_and_its_order_kept_and_no_chunk_too_long(
    text: str, kind: Kind, size: int, count: Callable[[str], int]
):
    if not seen(text):
        with pytest.raises(Refused, match="an empty text"):
            chunks_of(text, Chunking(kind, size), count)
        return
    chunks = chunks_of(text, Chunking(kind, size), count)
    assert max(map(count, chunks)) <= size
    assert all(map(str.strip, chunks))
    assert chunks == chunks_of(text, Chunking(kind, size), count)
    rest = seen(text)
    for chunk in chunks:
        # Headings may stand before it once more, in a paragraph of their own.
        body = next(b for b in (seen(chunk), seen(chunk.partition("\n\n")[2])) if b and rest.startswith(b))
        rest = rest[len(body) :]
    assert rest == ""


@settings(max_examples=60, deadline=None)
@given(TEXTS.filter(seen), st.integers(1, 8), st.sampled_from(COUNTS))
def test_with_an_overlap_nothing_is_lost_either(text: str, overlap: int, count: Callable[[str], int]):
    chunks = chunks_of(text, Chunking(Kind.TEXT, 16, overlap), count)
    assert max(map(count, chunks)) <= 16
    rest = seen(text)
    for chunk in chunks:
        body = seen(chunk)
        start = next(n for n in range(len(body) + 1) if rest.startswith(body[n:]))
        rest = rest[len(body) - start :]
    assert rest == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda one: st.lists(one, max_size=4) | st.dictionaries(st.text(max_size=150), one, max_size=4),
    max_leaves=30,
)


def texts_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in texts_in(each)]
    if isinstance(value, list):
        return [text for each in value for text in texts_in(each)]
    return [value] if isinstance(value, str) else [json.dumps(value)]


@settings(max_examples=100, deadline=None)
@given(JSON, st.sampled_from([16, 64]), st.sampled_from([by_words, len]))
def test_every_value_of_a_json_document_is_in_its_chunks_in_order(value: Any, size: int, count: Callable[[str], int]):
    try:
        chunks = chunks_of(json.dumps(value), Chunking(Kind.JSON, size), count)
    except Refused as refusal:
        assert refusal.rule == "empty_text"  # noqa: PT017 a document of one blank text
        assert not seen("".join(texts_in(value)))
        return
    assert chunks
    assert max(map(count, chunks)) <= size
    letters = iter(seen("".join(chunks)))
    assert all(letter in letters for letter in seen("".join(texts_in(value))))


def cut(text: str, kind: Kind, size: int = 16, overlap: int = 0) -> list[str]:
    return chunks_of(text, Chunking(kind, size, overlap), by_words)


def sentence(word: str, count: int = 10) -> str:
    return " ".join([word] * (count - 1)) + " end."


def test_a_text_is_cut_at_paragraphs_first_then_at_sentences_then_at_words():
    text = f"{sentence('a')}\n\n{sentence('b')}\n\n{sentence('c')} {sentence('d')}\n\n{sentence('e', 40)}"
    assert cut(text, Kind.TEXT) == [
        sentence("a"),
        sentence("b"),
        sentence("c"),
        sentence("d"),
        *[" ".join(["e"] * 16)] * 2,
        sentence("e", 8),
    ]


def test_a_chunk_of_markdown_tells_the_headings_it_stands_under():
    text = (
        f"# Shop\n\n{sentence('a', 12)}\n\n## Refunds\n\n{sentence('b', 8)} {sentence('c', 8)}\n\nHow\n---\n\n{sentence('d', 12)}\n"
    )
    assert cut(text, Kind.MARKDOWN) == [
        f"# Shop\n\n{sentence('a', 12)}",
        f"Shop\n\n## Refunds\n\n{sentence('b', 8)}",
        f"Shop > Refunds\n\n{sentence('c', 8)}",
        f"Shop\n\nHow\n---\n\n{sentence('d', 12)}",
    ]


def test_a_section_that_fits_keeps_what_is_below_it():
    text = f"# A\n\n{sentence('a', 3)}\n\n## B\n\n{sentence('b', 3)}\n\n# C\n\n{sentence('c', 12)}\n"
    assert cut(text, Kind.MARKDOWN) == [f"# A\n\n{sentence('a', 3)}\n\n## B\n\n{sentence('b', 3)}", f"# C\n\n{sentence('c', 12)}"]


def test_many_small_sections_do_not_become_as_many_chunks():
    assert len(cut("# a\n" * 1000, Kind.MARKDOWN, 64)) <= 1000 * 2 / 15


def test_a_heading_in_a_code_fence_or_in_front_matter_is_none():
    text = f"---\ntitle: x\n---\n\n# A\n\n```sh\n# no heading\n\n\n{sentence('ls', 6)}\n```\n\n{sentence('b', 12)}"
    assert cut(text, Kind.MARKDOWN) == [
        "---\ntitle: x\n---",
        f"# A\n\n```sh\n# no heading\n\n\n{sentence('ls', 6)}\n```",
        f"A\n\n{sentence('b', 12)}",
    ]


def test_a_fence_and_a_table_that_fit_are_not_torn():
    fence = f"```\n{sentence('x', 5)}\n\n{sentence('y', 5)}\n```"
    table = "| a | b |\n|---|---|\n| 1 | 2 |"
    text = f"{sentence('a', 9)}\n\n{fence}\n\n{sentence('b', 9)}\n\n{table}\n\n{sentence('c', 9)}"
    chunks = cut(text, Kind.MARKDOWN)
    assert [c for c in chunks if fence in c]
    assert [c for c in chunks if table in c]


def test_python_is_cut_by_its_definitions():
    text = (
        f'"""{sentence("doc", 12)}"""\n\nimport os\n\n\n# why it is there\n@wraps\ndef f(x):\n    """No\n\ndef g():\n    """\n'
        f"    return '{sentence('f', 4)}'\n\n\nclass A(B):\n    x = '{sentence('x', 9)}'\n\n    def g(self):\n"
        f"        def inner(): pass\n        '{sentence('g', 6)}'\n\n"
        f"    @property\n    async def h(self): '{sentence('h', 8)}'\n\n\nMAIN = '{sentence('m', 8)}'\n"
    )
    assert [chunk.partition("\n")[0] for chunk in cut(text, Kind.PYTHON, 20)] == [
        f'"""{sentence("doc", 12)}"""',
        "# why it is there",
        "class A(B):",
        "class A(B):",
        "class A(B):",
        f"MAIN = '{sentence('m', 8)}'",
    ]
    assert cut(text, Kind.PYTHON, 20)[3].startswith("class A(B):\n\n    def g(self):\n        def inner()")


def test_code_is_cut_where_a_blank_line_precedes_something_outermost():
    function = "fn {0}() {{\n    a b c;\n\n    d e f;\n}}\n\n"
    assert cut(function.format("one") + function.format("two"), Kind.CODE) == [
        function.format("one").strip(),
        function.format("two").strip(),
    ]


def test_json_stands_as_paths_with_their_values():
    value = {"a": {"b c": [1.50, {"d": True}], "e": [], "f": {}}, "g": None, "h": "two\nlines"}
    text = json.dumps(value).replace("1.5", "1.50")
    assert cut(text, Kind.JSON, 64) == ["a.b c[0]: 1.50\na.b c[1].d: true\na.e: []\na.f: {}\ng: null", "h: two\nlines"]
    assert cut('"only a text"', Kind.JSON) == ["only a text"]


def test_a_long_text_in_json_is_cut_below_its_path():
    assert cut(json.dumps({"a": {"b": f"{sentence('x' * 9, 12)} {sentence('y' * 9, 12)}"}}), Kind.JSON) == [
        f"a.b: {sentence('x' * 9, 12)}",
        f"a.b\n\n{sentence('y' * 9, 12)}",
    ]


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '{"a": }', "no json", "[" * 100_000 + "]" * 100_000])
def test_what_is_no_json_is_refused(text: str):
    with pytest.raises(Refused, match="no JSON document") as caught:
        cut(text, Kind.JSON)
    assert text[:5] not in caught.value.message + caught.value.hint


def test_what_no_store_takes_is_in_no_chunk():
    assert cut("a\0b \ud83c", Kind.TEXT) == ["a b ?"]
    assert cut('{"a": "x\\u0000y\\ud83c"}', Kind.JSON) == ["a: x y?"]


def test_an_overlap_repeats_the_last_sentences_of_the_chunk_before():
    text = " ".join(sentence(letter, 5) for letter in "abcdef")
    assert cut(text, Kind.TEXT, 16, 6) == [" ".join(sentence(letter, 5) for letter in letters) for letters in ("abc", "cde", "ef")]


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (15, 0), (8193, 0), (16, 9), (16, -1)])
def test_sizes_that_cut_nothing_sensible_are_refused(size: int, overlap: int):
    with pytest.raises(Refused):
        Chunking(Kind.TEXT, size, overlap)


BIG = {
    "prose": (Kind.TEXT, f"{sentence('prose', 12)} {sentence('more', 9)}\n\n"),
    "one word": (Kind.TEXT, "x"),
    "one line": (Kind.TEXT, "word "),
    "full stops": (Kind.TEXT, "."),
    "blank lines": (Kind.CODE, "\n \n"),
    "tiny headings": (Kind.MARKDOWN, "# a\n"),
    "nested headings": (Kind.MARKDOWN, "# a\n## b\n### c\n#### d\n##### e\n###### f\n"),
    "backticks": (Kind.MARKDOWN, "```\n"),
    "hashes": (Kind.MARKDOWN, "#"),
    "underlines": (Kind.MARKDOWN, "a\n---\n"),
    "table": (Kind.MARKDOWN, "| a | b |\n"),
    "quotes": (Kind.PYTHON, '"'),
    "open texts": (Kind.PYTHON, "'''\"\"\"\\"),
    "definitions": (Kind.PYTHON, "class A:\n    def f(self): pass\n"),
    "decorators": (Kind.PYTHON, "@a\n"),
}


@pytest.mark.parametrize("case", BIG)
def test_a_large_document_takes_time_by_its_length_whatever_it_is(case: str):
    """Five times the text would take twenty-five times as long if any step looked back."""
    kind, piece = BIG[case]

    def taken(size: int) -> float:
        text = "start " + piece * (size // len(piece)) + "end"
        began = time.process_time()
        chunks_of(text, Chunking(kind, 256), quick)
        return time.process_time() - began

    def quick(text: str) -> int:
        return len(text) // 4 + 1

    # What else the machine does can slow one of the two, and not each time the same one.
    assert any(taken(400_000) < 12 * max(taken(80_000), 0.02) for _ in range(3))


@pytest.mark.slow
@pytest.mark.parametrize("case", ["prose", "one word", "tiny headings", "open texts"])
def test_five_megabytes_are_cut_within_a_minute_by_the_tokens_of_wordllama(case: str):
    kind, piece = BIG[case]
    began = time.process_time()
    count = opened({})["wordllama"].tokens
    chunks = chunks_of("start " + piece * (5_000_000 // len(piece)), Chunking(kind, 256), count)
    assert time.process_time() - began < 60
    assert max(map(count, chunks)) <= 256


def test_memory_for_a_large_document_is_a_few_times_its_size():
    text = "word and more. " * 30_000
    tracemalloc.start()
    chunks_of(text, Chunking(Kind.TEXT, 256), lambda part: len(part) // 4)
    assert tracemalloc.get_traced_memory()[1] < 8 * len(text)
    tracemalloc.stop()


def test_a_path_does_not_multiply_a_json_document():
    deep = json.dumps({"k" * 5000: {"m" * 5000: dict.fromkeys(map(str, range(2000)), 1)}})
    assert sum(map(len, cut(deep, Kind.JSON))) < 30 * len(deep)


def test_the_kind_of_a_file_is_told_by_its_name():
    names = ["README.md", "a/b.PY", "x.json", "main.rs", "notes.txt", "LICENSE", ".md"]
    assert list(map(kind_of, names)) == [Kind.MARKDOWN, Kind.PYTHON, Kind.JSON, Kind.CODE, Kind.TEXT, Kind.TEXT, Kind.TEXT]


def test_a_template_shows_columns_and_braces():
    template = parsed("{name}: {{{note}}} {{literally}}", ["name", "note", "other"])
    assert template.columns == {"name", "note"}
    assert template.filled({"name": "A {note} %s", "note": None}) == "A {note} %s: {} {literally}"


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{nme}", "the template shows `nme`, which is no column of the statement"),
        ("{ name }", "the template shows ` name `, which is no column of the statement"),
        ("{name.__class__}", "the template shows `name.__class__`, which is no column of the statement"),
        ("{name!r}", "the template shows `name!r`, which is no column of the statement"),
        ("{name", "a brace of the template is not closed, or closes nothing"),
        ("name}", "a brace of the template is not closed, or closes nothing"),
        ("{}", "a brace of the template is not closed, or closes nothing"),
        ("{a{name}}", "a brace of the template is not closed, or closes nothing"),
        ("name", "the template shows no column, so that every row would have the same text"),
        ("", "the template shows no column, so that every row would have the same text"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused_before_any_row(template: str, told: str):
    with pytest.raises(Refused) as caught:
        parsed(template, ["name"])
    assert caught.value.message == told


def test_a_digest_changes_with_whatever_changes_the_chunks_and_with_nothing_else():
    plain = digest_of("text", {"a": 1, "b": ("x",)}, Chunking(), "m")
    assert plain == digest_of("text", {"b": ("x",), "a": 1}, Chunking(), "m")
    others = [
        digest_of("text ", {"a": 1, "b": ("x",)}, Chunking(), "m"),
        digest_of("text", {"a": 1.0, "b": ("x",)}, Chunking(), "m"),
        digest_of("text", {"a": True, "b": ("x",)}, Chunking(), "m"),
        digest_of("text", {"a": "1", "b": ("x",)}, Chunking(), "m"),
        digest_of("text", {"a": 1, "b": "x"}, Chunking(), "m"),
        digest_of("text", {"a": 1}, Chunking(), "m"),
        digest_of("text", {"a": 1, "b": ("x",)}, Chunking(size=255), "m"),
        digest_of("text", {"a": 1, "b": ("x",)}, Chunking(overlap=1), "m"),
        digest_of("text", {"a": 1, "b": ("x",)}, Chunking(Kind.MARKDOWN), "m"),
        digest_of("text", {"a": 1, "b": ("x",)}, Chunking(), "n"),
    ]
    assert len({plain, *others}) == 11
    assert len(digest_of("\ud83c", {}, Chunking(), "m")) == 64
