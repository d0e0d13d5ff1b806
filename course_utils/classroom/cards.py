"""Cards: what `check` and `progress` show. A page where it is rendered, and the same words as plain text elsewhere.

Colours are see-through and text keeps the page's own colour, so that a card can be read in light and dark.
"""

import re
from dataclasses import dataclass
from html import escape

from IPython.display import display

COLOURS = {"right": "#009E73", "not right yet": "#D55E00", "not attempted yet": "#808080"}
SIGNS = {"right": "✓", "not right yet": "✗", "not attempted yet": "○"}


@dataclass(frozen=True)
class Card:
    """Something to display: `page` is HTML, `text` the same in plain words."""

    text: str
    page: str

    def __repr__(self):
        return self.text

    def _repr_html_(self):
        return self.page


def show(card):
    display(card)


def verdict(name, status, text, goes_on, values=None, hints=()):
    """The verdict on an exercise.

    Args:
        name: of the exercise.
        status: a key of COLOURS.
        text: what there is to say, with code in `backticks`.
        goes_on: with which version the notebook goes on.
        values: (what came back, what should have), where that helps.
        hints: from a nudge to nearly all of it; each one click away.
    """
    beside = f"\nyours: {values[0]}\nshould be: {values[1]}" if values else ""
    plain = f"{name}: {status}. {text}{beside}\n{goes_on}"
    if hints:
        plain += f' hint("{name}") helps; then run the cell again.'
    head = f"<strong>{SIGNS[status]} {escape(status).capitalize()}</strong> &nbsp;<code>{escape(name)}</code>"
    parts = [head, paragraph(text), table(values) if values else "", paragraph(goes_on), folded(hints)]
    return Card(plain.strip(), box("".join(parts), COLOURS[status]))


def box(page, colour):
    return (
        f'<div role="status" style="border-left: 4px solid {colour}; border-radius: 4px; background: {colour}1a; '
        f'padding: 0.6em 1em; max-width: 46em; line-height: 1.5">{page}</div>'
    )


# Between backticks; or a name with a _ in it, a call that starts with a dot, or something of torch's
CODE = re.compile(
    r"`([^`\n]+)`|((?:[\w.]*\w_\w[\w.]*|\.\w+|torch\.[\w.]*\w)\([^()\n]*\)|[\w.]*\w_\w*\w|torch\.[\w.]*\w)"
)
EMPHASIS = re.compile(r"(?<![\w*])\*(\w+)\*(?![\w*])")


def paragraph(text):
    """Words as HTML, with code set as code, and a *word* between asterisks emphasised."""
    coded = CODE.sub(lambda found: f"<code>{found[1] or found[2]}</code>", escape(text.strip(), quote=False))
    said = EMPHASIS.sub(r"<em>\1</em>", coded).replace("\n", "<br>")
    return f'<div style="margin-top: 0.4em">{said}</div>' if said else ""


def table(values):
    """What came back beside what should have."""
    cells = "".join(
        f'<div style="flex: 1 1 12em"><small>{label}</small><br><code>{escape(value)}</code></div>'
        for label, value in zip(("yours", "should be"), values, strict=True)
    )
    return f'<div style="display: flex; flex-wrap: wrap; gap: 0.4em 2em; margin-top: 0.4em">{cells}</div>'


def folded(hints, number=1):
    """The hints, each folded into the one before."""
    if not hints:
        return ""
    more = folded(hints[1:], number + 1)
    inner = f'<div style="margin-left: 1em">{paragraph(hints[0])}{more}</div>'
    return f'<details style="margin-top: 0.4em"><summary>Hint {number}</summary>{inner}</details>'


def progress(notebooks):
    """How far one has come: {notebook: [(name of the exercise, solved, "solved, 2 tries")]}."""
    exercises = [exercise for each in notebooks.values() for exercise in each]
    done = sum(solved for _, solved, _ in exercises)
    lines, rows = [], []
    for notebook, each in notebooks.items():
        lines.append(f"Notebook {notebook}")
        lines += [f"  [{'x' if solved else ' '}] {name:28} {tries}" for name, solved, tries in each]
        signs = " ".join(
            f'<span title="{escape(f"{name}: {tries}")}">{square(solved)}</span>' for name, solved, tries in each
        )
        names = "".join(f"<li><code>{escape(name)}</code>: {escape(tries)}</li>" for name, _, tries in each)
        count = f"{sum(solved for _, solved, _ in each)} of {len(each)}"
        summary = f"<summary>Notebook {notebook} &nbsp;{signs}&nbsp; {count}</summary>"
        rows.append(f"<details>{summary}<ul style='margin: 0.2em 0'>{names}</ul></details>")
    said = f"{done} of {len(exercises)} solved"
    share = f"width: {100 * done / len(exercises):.0f}%; height: 0.7em"
    bar = f'<div style="{share}; background: {COLOURS["right"]}; border-radius: 4px"></div>'
    bar = f'<div style="background: #8883; border-radius: 4px; margin: 0.4em 0">{bar}</div>'
    return Card("\n".join([*lines, said]), box(f"<strong>{said}</strong>{bar}{''.join(rows)}", COLOURS["right"]))


def square(solved):
    colour = COLOURS["right"] if solved else "#8884"
    style = "display: inline-block; width: 0.8em; height: 0.8em; border-radius: 2px"
    return f'<span style="{style}; background: {colour}"></span>'
