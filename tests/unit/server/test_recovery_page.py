"""The page of a report: nothing in it is anybody else's, and nothing of it is fetched or run."""

import base64
import re
from hashlib import sha256
from html.parser import HTMLParser

from fix_recovery import backup, drill, eventful, facts, held

from ostiary.recovery.judging import report
from ostiary.recovery.markup import element
from ostiary.recovery.page import page
from ostiary_tools.backup.manifest import Kind

HTML = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "section", "ul", "li", "div", "span", "figure"}
SVG = {"figcaption", "svg", "desc", "line", "text", "path", "rect"}


class Read(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Noted."""
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        """Noted."""
        self.texts.append(data)


def test_hostile_names_are_text():
    read = Read(page(report(eventful())))
    assert {tag for tag, _ in read.tags} <= HTML | SVG
    assert not {
        name for _, attributes in read.tags for name in attributes if name.startswith("on") or name in {"style", "href", "src"}
    }
    assert "<script>alert(1)</script>" in read.texts
    assert any("x</title><img src=x onerror=alert(1)>" in text for text in read.texts)


def test_texts_and_attributes_are_escaped_and_lines_do_not_turn():
    made = element("p", 'a"b<c>&\u202ed\x1b', title="'\"><x")
    assert made == '<p title="&#x27;&quot;&gt;&lt;x">a&quot;b&lt;c&gt;&amp; d </p>'


def test_only_the_style_that_is_in_it_is_let_in():
    text = page(report(eventful()))
    [style] = re.findall("<style>(.*?)</style>", text, re.DOTALL)
    policy = next(attributes["content"] for _, attributes in Read(text).tags if attributes.get("http-equiv"))
    sum_ = base64.b64encode(sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{sum_}'; base-uri 'none'; form-action 'none'"
    assert text.index("Content-Security-Policy") < text.index("<title>")
    assert "://" not in text
    assert "url(" not in style
    assert "@import" not in style


def test_the_picture_has_a_mark_for_everything_and_says_it_in_words():
    made = [backup(50, Kind.FULL), backup(20)]
    read = Read(page(report(facts(*made, held={made[0].id: held(drill(made[0], 40), drill(made[0], 30, "pages"))}))))
    figure = [tag for tag, _ in read.tags].index("figure")
    caption = [tag for tag, _ in read.tags].index("figcaption")
    marks = [attributes["class"] for tag, attributes in read.tags[figure:caption] if tag in {"path", "rect"}]
    assert sorted(marks) == ["backup full unusable", "backup logical", "drill failed", "drill passed", "window"]
    assert any("2 backups, 2 drills of which 1 failed, no log." in text for text in read.texts)


def test_everything_stands_within_the_picture():
    read = Read(page(report(eventful())))
    placed = [float(attributes["x"][:-1]) for _, attributes in read.tags if attributes.get("x", "").endswith("%")]
    assert len(placed) > 40
    assert all(0 <= x <= 100 for x in placed)
    wide = [float(attributes["width"][:-1]) for tag, attributes in read.tags if tag == "rect" and attributes["width"].endswith("%")]
    assert all(0 < width <= 100 for width in wide)
