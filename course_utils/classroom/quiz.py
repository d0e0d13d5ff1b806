"""The quiz at the end of each notebook, in one line: show_quiz("01_forward_process").

The questions are in quizzes/, one file for each notebook. They are shown as text with folded answers, which is all
that GitHub, a printed page or a saved notebook can show, and then as live controls, which hide the text.
"""

import html
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import ipywidgets
from IPython.display import HTML, display

from course_utils.classroom.widgets import Column

QUIZZES = Path(__file__).parent / "quizzes"
LETTERS = "ABCD"


@dataclass(frozen=True)
class Choice:
    text: str
    why: str  # why it is right or wrong
    right: bool


@dataclass(frozen=True)
class Question:
    text: str
    choices: tuple[Choice, ...]


def show_quiz(name):
    """Show a notebook's quiz, by name, as in "01_forward_process"."""
    questions = load_quiz(name)
    display(HTML(as_text(name, questions)))
    display(quiz_box(name, questions))


# From the file to questions


def load_quiz(name):
    """The questions of a notebook's quiz: a list of Question."""
    names = sorted(path.stem for path in QUIZZES.glob("*.toml"))
    if name not in names:
        raise ValueError(f"There is no quiz named {name!r:.80}: name must be one of {', '.join(names)}.")
    return read_quiz(QUIZZES / f"{name}.toml")


def read_quiz(path):
    """The questions in a file: a list of Question. ValueError if it is malformed, which says where."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no quiz at {path}.")
    try:
        quiz = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not TOML, or not UTF-8
        raise ValueError(
            f"{path.name} can't be read: {error}. Correct that place; check quotes and brackets first."
        ) from None
    check_fields(quiz, {"question": some_tables}, path.name)
    require(3 <= len(quiz["question"]) <= 5, path.name, f"it has {len(quiz['question'])} questions. Make it 3 to 5.")
    return [as_question(table, f"{path.name}, question {i}") for i, table in enumerate(quiz["question"], 1)]


def as_question(table, where):
    check_fields(table, {"text": some_text, "choice": some_tables}, where)
    require(3 <= len(table["choice"]) <= 4, where, f"it has {len(table['choice'])} choices. Make it 3 or 4.")
    choices = tuple(
        as_choice(choice, f"{where}, choice {letter}") for letter, choice in zip(LETTERS, table["choice"], strict=False)
    )
    right = sum(choice.right for choice in choices)
    require(right == 1, where, f"{right} of its choices are right. Write `right = true` in exactly one of them.")
    for field in ("text", "why"):
        different = len({getattr(choice, field) for choice in choices})
        require(different == len(choices), where, f"two choices have the same `{field}`. Give each its own.")
    return Question(one_line(table["text"]), choices)


def as_choice(table, where):
    table = {"right": False} | table
    check_fields(table, {"text": some_text, "why": some_text, "right": true_or_false}, where)
    return Choice(one_line(table["text"]), one_line(table["why"]), table["right"])


def check_fields(table, rules, where):
    """Each field with a rule is there and obeys it, and there are no others: a misspelt one would be lost."""
    for field in table:
        require(field in rules, where, f"`{field}` is not one of its fields, which are {', '.join(rules)}. Rename it.")
    for field, rule in rules.items():
        require(field in table, where, f"`{field}` is missing. Add it.")
        rule(table[field], where, field)


def some_text(value, where, field):
    require(isinstance(value, str) and value.strip(), where, f"`{field}` must be some text, but is {value!r}.")
    require(
        "$" not in value, where, f"`{field}` has a formula in it, which radio buttons can't show. Use words or `code`."
    )


def some_tables(value, where, field):
    tables = isinstance(value, list) and all(isinstance(item, dict) for item in value)
    require(tables, where, f"`{field}` must be made of tables that begin with [[...{field}]], but is {value!r:.60}.")


def true_or_false(value, where, field):
    require(isinstance(value, bool), where, f"`{field}` must be true or false, without quotes, but is {value!r}.")


def require(holds, where, complaint):
    if not holds:
        raise ValueError(f"{where}: {complaint}")


def one_line(text):
    return " ".join(text.split())


# As text


def as_text(name, questions):
    """A page of HTML: each question, its choices, and, folded, what there is to say about each of them."""
    return "\n".join(
        [
            f'<div class="{text_class(name)}">',
            *(question_as_text(number, question) for number, question in enumerate(questions, 1)),
            "</div>",
        ]
    )


def question_as_text(number, question):
    lettered = list(zip(LETTERS, question.choices, strict=False))
    choices = [f"<li>{letter}. {marked_up(choice.text)}</li>" for letter, choice in lettered]
    answers = [f"<li>{letter}. {verdict(choice)}</li>" for letter, choice in lettered]
    return "\n".join(
        [
            f"<p><b>{number}. {marked_up(question.text)}</b></p>",
            *(PLAIN_LIST, *choices, "</ul>"),
            f'<details style="margin-bottom: 1em"><summary>Answer to question {number}</summary>',
            *(PLAIN_LIST, *answers, "</ul></details>"),
        ]
    )


PLAIN_LIST = '<ul style="list-style: none">'  # the letters take the place of bullets


def text_class(name):
    """The CSS class of the text version. It names the notebook, since JupyterLab shows several on one page."""
    return f"quiz-as-text-{name}"


def marked_up(text):
    """HTML in which `code` in backticks is code."""
    return re.sub("`(.+?)`", r"<code>\1</code>", html.escape(text))


def verdict(choice):
    return f"<b>{'Right.' if choice.right else 'Not quite.'}</b> {marked_up(choice.why)}"


# Live


def quiz_box(name, questions):
    """The live quiz: a box for each question, and a count of those answered correctly."""
    count, solved = ipywidgets.HTML(), set()

    def solve(number):
        solved.add(number)
        count.value = f'<div role="status"><b>{len(solved)} of {len(questions)} right</b></div>'

    boxes = [question_box(number, question, solve) for number, question in enumerate(questions, 1)]
    style = ipywidgets.HTML(f"<style>{STYLE % text_class(name)}</style>", layout=dict(display="none"))
    return Column([style, *boxes, count]).add_class("course-quiz")


# Radio buttons are made for a word or two: a longer label would run over the next one. And wherever this style is, so
# is the live quiz, so the text is hidden; a printer still gets the text.
STYLE = """
.course-quiz .widget-radio-box label {
    height: auto; line-height: 1.5; margin: 2px 0;
    display: flex; flex-direction: row-reverse; justify-content: flex-end;
}
.course-quiz .widget-radio-box input { flex-shrink: 0; }
.course-quiz .widget-html .widget-html-content { line-height: 1.5; }
@media screen { .%s { display: none; } }
"""


def question_box(number, question, solve):
    """The text, the choices with nothing chosen, a button, and what it says. A right answer calls solve(number)."""
    text = ipywidgets.HTML(f"<b>{number}. {marked_up(question.text)}</b>")
    options = [(choice.text.replace("`", ""), choice) for choice in question.choices]
    choices = ipywidgets.RadioButtons(options=options, index=None, layout=dict(width="auto"))
    button, said = ipywidgets.Button(description=f"Check answer {number}"), ipywidgets.HTML()

    def say(words):
        said.value = f'<div role="alert">{words}</div>'  # so that a screen reader reads it out at once

    def answer(_):
        if choices.value is None:
            return say("Choose an answer first.")
        say(verdict(choices.value))
        if choices.value.right:
            solve(number)

    def forget(_):
        said.value = ""  # it was about another choice

    button.on_click(answer)
    choices.observe(forget, names="index")
    return ipywidgets.VBox([text, choices, button, said], layout=dict(margin="0 0 1.5em"))
