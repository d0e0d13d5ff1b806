"""The quizzes: the questions' files against rules that chance would satisfy, and both ways of showing them."""

import math
import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import ipywidgets
import nbformat
import pytest
from nbclient import NotebookClient

from course_utils.classroom import quiz

ROOT = Path(__file__).parent.parent.parent
FILES = sorted((ROOT / "course_utils" / "classroom" / "quizzes").glob("*.toml"))
NAMES = [path.stem for path in FILES]
TABLES = {path.stem: tomllib.loads(path.read_text())["question"] for path in FILES}  # not by the code under test
ALL = [question for questions in TABLES.values() for question in questions]


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def plain(text):
    """What a reader sees of a text in a file: no backticks, and one space wherever there is white space."""
    return " ".join(text.replace("`", "").split())


def right_place(question):
    [place] = [i for i, choice in enumerate(question["choice"]) if choice.get("right", False)]
    return place


# The questions


def test_every_notebook_has_a_quiz():
    notebooks = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert set(NAMES) == notebooks | {"00_start_here"}


def test_questions_are_three_to_five_with_one_right_choice_and_an_explanation_for_each(name):
    assert 3 <= len(TABLES[name]) <= 5
    for question in TABLES[name]:
        choices = question["choice"]
        assert 3 <= len(choices) <= 4
        assert sum(choice.get("right", False) for choice in choices) == 1
        for field in ("text", "why"):
            texts = {plain(choice[field]) for choice in choices}
            assert len(texts) == len(choices)
            assert all(len(text.split()) >= 3 for text in texts)


def test_no_explanation_is_used_twice():
    texts = [plain(choice["why"]) for question in ALL for choice in question["choice"]]
    assert sorted(texts) == sorted(set(texts))


@pytest.mark.parametrize("place", range(4))
def test_right_choices_are_in_each_place_about_as_often_as_by_chance(place):
    """Within two standard deviations of what drawing the places would give."""
    chances = [1 / len(question["choice"]) for question in ALL if len(question["choice"]) > place]
    expected, deviation = sum(chances), math.sqrt(sum(chance * (1 - chance) for chance in chances))
    found = sum(right_place(question) == place for question in ALL)
    assert abs(found - expected) <= 2 * deviation


def test_right_choices_of_a_quiz_are_not_all_in_one_place(name):
    assert len({right_place(question) for question in TABLES[name]}) > 1


@pytest.mark.parametrize("extreme", [max, min])
def test_choosing_by_length_is_right_in_fewer_than_half_of_the_questions(extreme):
    """By chance it would be right in between a quarter and a third of them."""
    hits = 0
    for question in ALL:
        lengths = [len(plain(choice["text"])) for choice in question["choice"]]
        hits += lengths[right_place(question)] == extreme(lengths)
    assert hits < len(ALL) / 2


# The text


class Page(HTMLParser):
    """The words of a page, those in folded parts apart; every tag must be closed."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.shown, self.folded = [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        (self.folded if "details" in self.open and "summary" not in self.open else self.shown).append(data)


def test_text_shows_questions_and_choices_and_folds_explanations(name):
    page = Page(quiz.as_text(name, quiz.load_quiz(name)))
    shown, folded = "".join(page.shown), "".join(page.folded)
    for number, question in enumerate(TABLES[name], 1):
        assert f"{number}. {plain(question['text'])}\n" in shown
        assert f"Answer to question {number}\n" in shown
        for letter, choice in zip("ABCD", question["choice"], strict=False):
            assert f"{letter}. {plain(choice['text'])}\n" in shown
            verdict = "Right." if choice.get("right", False) else "Not quite."
            assert f"{letter}. {verdict} {plain(choice['why'])}\n" in folded
            assert plain(choice["why"]) not in shown
    assert page.tags.count("details") == page.tags.count("summary") == len(TABLES[name])


AWKWARD = ["a < b & b > c", "say \"x\" & 'y'", "<b>&amp;</b>", "</div><script>", "`x[<i>]` & more"]


def awkward_question():
    text, *others = AWKWARD
    choices = [quiz.Choice(text=other, why=f"{other} why", right=i == 1) for i, other in enumerate(others)]
    return quiz.Question(text=text, choices=tuple(choices))


def test_text_is_escaped():
    page = Page(quiz.as_text("a", [awkward_question()]))
    assert set(page.tags) == {"div", "p", "b", "ul", "li", "details", "summary", "code"}
    for text in AWKWARD:
        assert plain(text) in "".join(page.shown)


# Live


def all_in(box, kind):
    found = [box] if isinstance(box, kind) else []
    return found + [widget for child in getattr(box, "children", ()) for widget in all_in(child, kind)]


def words(box):
    """All the words in a box that are not on radio buttons or buttons; the style is not for reading."""
    pages = [widget.value for widget in all_in(box, ipywidgets.HTML)]
    return "\n".join("".join(Page(page).shown) for page in pages if "<style>" not in page)


def live(name):
    """The box of a quiz, and the radio buttons and the button of each question."""
    box = quiz.quiz_box(name, quiz.load_quiz(name))
    radios, buttons = all_in(box, ipywidgets.RadioButtons), all_in(box, ipywidgets.Button)
    return box, list(zip(radios, buttons, strict=True))


def test_live_quiz_has_every_question_and_choice_and_chooses_nothing(name):
    box, controls = live(name)
    assert len(controls) == len(TABLES[name])
    for number, (question, (radio, button)) in enumerate(zip(TABLES[name], controls, strict=True), 1):
        assert f"{number}. {plain(question['text'])}" in words(box)
        assert [label for label, _ in radio.options] == [plain(choice["text"]) for choice in question["choice"]]
        assert radio.index is None
        assert button.description == f"Check answer {number}"
    assert "Right." not in words(box)
    assert "Not quite." not in words(box)


def test_every_choice_gets_its_own_explanation(name):
    box, controls = live(name)
    for question, (radio, button) in zip(TABLES[name], controls, strict=True):
        for place, choice in enumerate(question["choice"]):
            before = words(box)
            radio.index = place
            assert plain(choice["why"]) not in words(box)
            button.click()
            verdict = "Right." if choice.get("right", False) else "Not quite."
            assert f"{verdict} {plain(choice['why'])}" in words(box)
            assert f"{verdict} {plain(choice['why'])}" not in before


def test_after_a_wrong_answer_one_may_try_again():
    box, [(radio, button), *_] = live("01_forward_process")
    question = TABLES["01_forward_process"][0]
    right, wrong = right_place(question), (right_place(question) + 1) % len(question["choice"])
    radio.index = wrong
    button.click()
    assert f"Not quite. {plain(question['choice'][wrong]['why'])}" in words(box)
    assert "1 of 5 right" not in words(box)
    radio.index = right
    assert "Not quite." not in words(box)  # it was about another choice
    button.click()
    assert f"Right. {plain(question['choice'][right]['why'])}" in words(box)
    assert "1 of 5 right" in words(box)


def test_count_counts_each_question_once():
    box, controls = live("01_forward_process")
    for number, (question, (radio, button)) in enumerate(zip(TABLES["01_forward_process"], controls, strict=True), 1):
        radio.index = right_place(question)
        button.click()
        button.click()
        assert f"{number} of 5 right" in words(box)


def test_checking_without_a_choice_asks_for_one():
    box, [(_, button), *_] = live("01_forward_process")
    button.click()
    assert "Choose an answer first." in words(box)


def test_feedback_is_announced_and_escaped():
    box = quiz.quiz_box("a", [awkward_question()])
    [radio], [button] = all_in(box, ipywidgets.RadioButtons), all_in(box, ipywidgets.Button)
    for place, text in enumerate(AWKWARD[1:]):
        radio.index = place
        button.click()
        assert plain(text) in words(box)
    alerts = [widget.value for widget in all_in(box, ipywidgets.HTML) if 'role="alert"' in widget.value]
    assert len(alerts) == 1
    assert "<i>" not in alerts[0]


def test_saved_notebook_keeps_the_text_and_live_one_hides_it(tmp_path):
    """Run in a real kernel, as `make notebooks` does; the live quiz has the style that hides this quiz's text."""
    code = 'from course_utils.classroom.quiz import show_quiz\n\nshow_quiz("02_noise_schedule")'
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, kernel_name="python3", store_widget_state=False).execute(cwd=str(ROOT))
    page, widget = notebook.cells[0].outputs
    assert "application/vnd.jupyter.widget-view+json" in widget.data
    nbformat.write(notebook, tmp_path / "a.ipynb")
    subprocess.run([sys.executable, ROOT / "scripts" / "normalise_notebooks.py", tmp_path / "a.ipynb"], check=True)
    [saved] = nbformat.read(tmp_path / "a.ipynb", as_version=4).cells[0].outputs
    assert saved.data["text/html"] == page.data["text/html"]

    [its_class] = re.findall('<div class="([^"]+)">', saved.data["text/html"])
    box, _ = live("02_noise_schedule")
    [style] = [widget.value for widget in all_in(box, ipywidgets.HTML) if "<style>" in widget.value]
    assert f"@media screen {{ .{its_class} {{ display: none; }} }}" in style
    others = [quiz.as_text(name, quiz.load_quiz(name)) for name in NAMES if name != "02_noise_schedule"]
    assert not any(its_class in other for other in others)


# Errors


def test_unknown_name_lists_the_names():
    for unknown in ("07_guidance", "01", "../quizzes/01_forward_process"):
        with pytest.raises(ValueError, match="There is no quiz named") as caught:
            quiz.show_quiz(unknown)
        assert all(name in str(caught.value) for name in NAMES)


QUESTION = """
[[question]]
text = "Which?"

[[question.choice]]
text = "This one."
why = "Because."
right = true

[[question.choice]]
text = "That one."
why = "It is not."

[[question.choice]]
text = "The other one."
why = "Nor is it."
"""


def write(tmp_path, text):
    path = tmp_path / "broken.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_well_formed_file_is_read(tmp_path):
    questions = quiz.read_quiz(write(tmp_path, 3 * QUESTION))
    assert questions == 3 * [
        quiz.Question(
            "Which?",
            (
                quiz.Choice("This one.", "Because.", True),
                quiz.Choice("That one.", "It is not.", False),
                quiz.Choice("The other one.", "Nor is it.", False),
            ),
        )
    ]


MALFORMED_QUESTIONS = {
    "no text": ('text = "Which?"', "", "`text` is missing. Add it"),
    "empty text": ('"Which?"', '" "', "`text` must be some text"),
    "no right choice": ("right = true", "", "0 of its choices are right"),
    "two right choices": ('"It is not."', '"It is not."\nright = true', "2 of its choices are right"),
    "right in quotes": ("right = true", 'right = "yes"', "choice A: `right` must be true or false"),
    "no explanation": ('why = "Nor is it."', "", "choice C: `why` is missing. Add it"),
    "empty explanation": ('"It is not."', '""', "choice B: `why` must be some text"),
    "explanation is a number": ('"It is not."', "7", "choice B: `why` must be some text, but is 7"),
    "misspelt field": ('why = "Because."', 'explanation = "Because."', "choice A: `explanation` is not one of"),
    "field of another table": ('text = "Which?"', 'text = "Which?"\nright = true', "`right` is not one of its fields"),
    "same explanation": ('"Nor is it."', '"It is not."', "two choices have the same `why`"),
    "same explanation in two lines": ('"Nor is it."', '"""\nIt is\nnot."""', "two choices have the same `why`"),
    "same choice": ('"That one."', '"This one."', "two choices have the same `text`"),
    "a formula": ('"That one."', '"The $x_0$ one."', "choice B: `text` has a formula"),
    "two choices": ('[[question.choice]]\ntext = "The other one."\nwhy = "Nor is it."', "", "it has 2 choices"),
    "five choices": (
        '[[question.choice]]\ntext = "This',
        2 * '[[question.choice]]\ntext = "No."\nwhy = "No."\n\n' + '[[question.choice]]\ntext = "This',
        "it has 5 choices",
    ),
    "choices that are no tables": (QUESTION, QUESTION.split("\n\n")[0] + '\nchoice = ["a", "b"]\n', r"begin with \[\["),
}


@pytest.mark.parametrize("case", MALFORMED_QUESTIONS)
def test_malformed_question_is_found_and_named(tmp_path, case):
    old, new, message = MALFORMED_QUESTIONS[case]
    assert old in QUESTION
    path = write(tmp_path, QUESTION + QUESTION.replace(old, new) + QUESTION)
    with pytest.raises(ValueError, match=rf"^broken\.toml, question 2.*{message}"):
        quiz.read_quiz(path)


MALFORMED_FILES = {
    "not TOML": (QUESTION + "why = because", r"can't be read: .*line \d+"),
    "not UTF-8": (b"\xff\xfe" + QUESTION.encode(), "can't be read"),
    "empty": ("", "`question` is missing"),
    "two questions": (2 * QUESTION, "it has 2 questions. Make it 3 to 5"),
    "six questions": (6 * QUESTION, "it has 6 questions. Make it 3 to 5"),
    "misspelt table": (3 * QUESTION.replace("[[question", "[[questions"), "`questions` is not one of its fields"),
    "no tables": ('question = "Which?"', "`question` must be made of tables"),
}


@pytest.mark.parametrize("case", MALFORMED_FILES)
def test_malformed_file_is_found_and_named(tmp_path, case):
    text, message = MALFORMED_FILES[case]
    with pytest.raises(ValueError, match=rf"^broken\.toml.*{message}"):
        quiz.read_quiz(write(tmp_path, text))
