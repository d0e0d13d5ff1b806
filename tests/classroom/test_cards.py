"""Cards: the page and the plain text say the same, and nothing in them is taken for HTML."""

import re
from html import unescape

import pytest
import torch

from course_utils.classroom import cards
from course_utils.classroom.exercises import checking, comparing

MANY = {"00": [("a.one", True, "solved, 1 try")], "01": [("b.two", False, "open, 2 tries"), ("b.three", True, "x")]}


def plain(page):
    """The words of a page, without tags."""
    return " ".join(unescape(re.sub(r"<.*?>", " ", page)).split())


@pytest.mark.parametrize("status", cards.COLOURS)
def test_page_says_what_the_text_says(status):
    card = cards.verdict("a.one", status, "Take the `root` of it.", "It goes on.", ("1", "2"), ("First.", "Second."))
    for said in ("a.one", "It goes on.", "of it.", "yours", "should be"):
        assert said in repr(card)
        assert said in plain(card._repr_html_())
    assert status in repr(card)
    assert status.capitalize() in plain(card._repr_html_())
    assert "<code>root</code>" in card._repr_html_()


def test_hints_are_folded_one_into_the_other():
    page = cards.verdict("a.one", "not right yet", "No.", "On.", hints=("First.", "Second."))._repr_html_()
    assert page.count("<details") == 2
    assert page.index("Hint 1") < page.index("First.") < page.index("Hint 2") < page.index("Second.")
    assert 'hint("a.one")' in repr(cards.verdict("a.one", "not right yet", "No.", "On.", hints=("First.",)))


def test_nothing_is_taken_for_html():
    page = cards.verdict("a.one", "not right yet", "x < 1 & <b>", "On.", ("<i>", "2"), ("<u>",))._repr_html_()
    assert not {"<b>", "<i>", "<u>"} & set(re.findall(r"<\w>", page))
    assert "x < 1 & <b>" in plain(page)


def test_a_word_between_asterisks_is_emphasised_but_not_a_product():
    assert "the <em>mean</em>." in cards.paragraph("We want the *mean*.")
    assert "<em>" not in cards.paragraph("Write `a*b*c`, a * b * c, **options or f(*args, *more).")


def test_progress_counts_what_is_solved():
    card = cards.progress(MANY)
    assert repr(card).endswith("2 of 3 solved")
    assert "  [x] a.one" in repr(card)
    assert "  [ ] b.two" in repr(card)
    assert "2 of 3 solved" in plain(card.page)
    assert "width: 67%" in card.page
    assert "Notebook 01" in plain(card.page)


def test_values_are_those_that_differ_most():
    found, expected = torch.zeros(2, 3), torch.tensor([[0.0, 0.0, 0.1], [0.0, -0.5, 0.0]])
    assert comparing.side_by_side(found, expected) == ("0   at [1, 1]", "-0.5   at [1, 1]")
    assert comparing.side_by_side(0.31, torch.tensor(0.52)) == ("0.31", "0.52")
    assert comparing.side_by_side(torch.full((2,), torch.nan), torch.zeros(2)) == ("nan   at [0]", "0   at [0]")
    assert comparing.side_by_side(torch.tensor([torch.inf, 1.0]), torch.tensor([torch.inf, 2.0])) == (
        "1   at [1]",
        "2   at [1]",
    )
    assert comparing.side_by_side(torch.zeros(2), torch.zeros(3)) is None


def test_check_shows_a_card(monkeypatch):
    shown = []
    monkeypatch.setattr(cards, "show", shown.append)
    exercise = checking.EXERCISES["forward.add_noise"]
    monkeypatch.setattr(checking, "keep", lambda name, verdict: None)
    checking.check("forward.add_noise", exercise.finished)
    checking.check("forward.add_noise", exercise.mistakes[0].attempt)
    right, wrong = map(repr, shown)
    assert right.startswith("forward.add_noise: right.")
    assert exercise.mistakes[0].message in wrong
    assert shown[1].page.count("<details") == len(exercise.hints)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Take the `root` of it.", ["root"]),
        ("alpha_bar and 1 - alpha_bar are shares.", ["alpha_bar", "alpha_bar"]),
        ("Torch has .log10().", [".log10()"]),
        ("torch.cat(parts) joins, torch.stack doesn't.", ["torch.cat(parts)", "torch.stack"]),
        ("Use schedule.alpha_bar[t]; the end.", ["schedule.alpha_bar"]),
        ("Plain words, e.g. these.", []),
    ],
)
def test_code_is_set_as_code(text, code):
    assert re.findall(r"<code>(.*?)</code>", cards.paragraph(text)) == code
