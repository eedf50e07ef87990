"""Files of examples: what is taken, what is refused with its place, and that editing leaves the rest as it was."""

from pathlib import Path

import pytest

from ostiary.example_edit import replace_file, with_one_more, without, written
from ostiary.example_files import ExampleError, Found, files_in, judged
from ostiary_tools.examples import Example, alike

GOOD = '''\
# Reviewed by the owners of the shop.

[[example]]
question = "How many orders are open?"
datasource = "shop"
sql = """
select count(*)
-- not a header:
[[example]]
from orders
"""

# About money.
[[ example ]]   # with a remark
question = "What was the turnover?"
datasource = "shop"
sql = "select sum(gross) from order_totals"
note = "Gross."
'''
OPEN, TURNOVER = "How many orders are open?", "What was the turnover?"


def problems(**texts: str) -> list[str]:
    with pytest.raises(ExampleError) as refused:
        judged(Found({f"{name}.toml": text for name, text in texts.items()}))
    return [str(problem) for problem in refused.value.problems]


def example(question: str = "q", sql: str = "select 1", note: str = "") -> Example:
    return Example("shop", question, sql, note, "a.toml", 0)


def test_each_example_has_the_line_on_which_it_begins() -> None:
    found = judged(Found({"shop.toml": GOOD}))
    assert [(one.question, one.line, one.note) for one in found] == [(OPEN, 3, ""), (TURNOVER, 14, "Gross.")]
    assert found[0].sql == "select count(*)\n-- not a header:\n[[example]]\nfrom orders"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[example]]\nquestion = ?", "a.toml:2: not valid TOML: Invalid value"),
        ('[[example]]\nquestion = "q"\nsql = "x"', "a.toml:1: `datasource` is missing"),
        ('\n[[example]]\nquestion = "q"\ndatasource = "s"\nsql = ""', "a.toml:2: `sql` is empty"),
        ('[[example]]\nquestion = 7\ndatasource = "s"\nsql = "x"', "a.toml:1: `question` is not a text"),
        (
            '[[example]]\nquestion = "q\\nw"\ndatasource = "s"\nsql = "x"',
            "a.toml:1: `question` holds a character that cannot be shown",
        ),
        (
            '[[example]]\nquestion = "q"\ndatasource = "s"\nsql = "x"\nrole = "x"',
            "a.toml:1: unknown key `role`; known are question, datasource, sql, note",
        ),
        (
            'example = [{question = "q", datasource = "s", sql = "x"}]',
            "a.toml: a file is a list of examples, each beginning with a line `[[example]]`",
        ),
        (
            'title = "x"',
            "a.toml: unknown key `title`; a file is a list of examples, each beginning with a line `[[example]]`",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, said: str) -> None:
    assert problems(a=text) == [said]


def test_a_question_stands_once_in_all_files() -> None:
    assert problems(a=written(example("How  many?")), b=written(example("how many?"))) == [
        "b.toml:1: this question stands in a.toml:1 already"
    ]


def test_a_folder_that_is_not_there_holds_none_and_one_that_anyone_can_write_is_refused(tmp_path: Path) -> None:
    assert files_in(tmp_path / "none") == Found({})
    folder = tmp_path / "open"
    folder.mkdir()
    (folder / "a.toml").write_text(GOOD)
    assert files_in(folder) == Found({"a.toml": GOOD})
    (folder / "a.toml").chmod(0o666)
    assert [str(p) for p in files_in(folder).problems] == ["a.toml: it can be changed by anyone; run `chmod o-w a.toml`"]
    folder.chmod(0o777)
    assert "anyone can put examples there" in str(files_in(folder).problems[0])


@pytest.mark.parametrize(
    "one",
    [
        example(),
        example('say "no"', "select '\\n''x', 1\nfrom t", "a \\ note\nof two lines"),
        example("three quotes", "select '''x'''\nfrom t"),
    ],
)
def test_what_is_added_reads_back_as_it_was_and_leaves_the_rest(one: Example) -> None:
    text = with_one_more(GOOD, one)
    assert text.startswith(GOOD)
    found = judged(Found({"a.toml": text}))[-1]
    assert (found.question, found.sql, found.note) == (one.question, one.sql, one.note)
    assert without(text, found.line).rstrip() == GOOD.rstrip()


def test_what_is_removed_takes_no_comment_of_the_next_with_it() -> None:
    assert without(GOOD, 3) == "# Reviewed by the owners of the shop.\n\n# About money.\n" + GOOD[GOOD.index("[[ example ]]") :]
    with pytest.raises(KeyError):
        without(GOOD, 9)


def test_a_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.toml"
    replace_file(path, GOOD)
    path.chmod(0o640)
    replace_file(path, "")
    assert (path.read_text(), path.stat().st_mode & 0o777, list(path.parent.iterdir())) == ("", 0o640, [path])


def test_the_nearest_examples_come_first_and_others_make_no_difference() -> None:
    open_, turnover, hidden = example(OPEN), example(TURNOVER, note="By month."), example("How many salaries are open?")
    assert [one for _, one in alike("How many open orders are there?", [turnover, open_])] == [open_]
    alone, among = alike("turnover by month", [turnover]), alike("turnover by month", [turnover, hidden, open_])
    assert alone == among
    assert alike("the of and", [open_]) == []
