"""The workshop: its agendas fit together and to the notebooks, the table of a class, and what becomes a slide."""

import base64
import json
import re
import runpy
import struct
from functools import cache
from html import unescape
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_utils.classroom import class_table
from course_utils.classroom.exercises.checking import EXERCISES

ROOT = Path(__file__).parent.parent.parent
WORKSHOP = ROOT / "workshop"
AGENDAS = [WORKSHOP / f"{length}.md" for length in ("half_day", "one_day", "two_days", "three_days")]
PAGES = sorted(WORKSHOP.rglob("*.md"))
minutes = SimpleNamespace(**runpy.run_path(str(ROOT / "scripts" / "workshop_minutes.py")))
make_slides = SimpleNamespace(**runpy.run_path(str(ROOT / "scripts" / "make_slides.py")))
relative = {"ids": lambda path: path.relative_to(ROOT).as_posix()}


def clock(begin):
    return f"{begin // 60:02d}:{begin % 60:02d}"


# The agendas


@pytest.mark.parametrize("path", AGENDAS, **relative)
def test_blocks_follow_each_other_and_have_the_time_they_need(path):
    blocks = minutes.blocks(path)
    new_day = [after for before, after in pairwise(blocks) if after.begin != before.end]
    assert len(new_day) == {"two_days": 1, "three_days": 2}.get(path.stem, 0)
    for block in blocks:
        assert block.has > 0, block.title
        assert block.needs <= block.has, f"{block.title} needs {block.needs:.1f} minutes and has {block.has}"


@pytest.mark.parametrize("path", AGENDAS, **relative)
def test_the_table_of_an_agenda_has_its_blocks(path):
    table = re.findall(r"\| (\d\d:\d\d) \| (\d+) \| ([^|]+?) (?=\|)", path.read_text(encoding="utf-8"))
    blocks = [(clock(block.begin), str(block.has), block.title) for block in minutes.blocks(path)]
    assert sorted(table) == sorted(blocks)


@pytest.mark.parametrize("path", AGENDAS, **relative)
def test_what_an_agenda_names_is_in_the_notebooks(path):
    for block in minutes.blocks(path):
        found = [
            name for number in block.chosen for part in minutes.sections(number).values() for name in part.exercises
        ]
        assert set(block.exercises) <= set(found), block.title
        for number, headings in block.chosen.items():
            assert headings, f"{block.title}: no section of {number}"
            assert set(headings) <= set(minutes.sections(number)), block.title


PART_ONE = [number for number in minutes.NOTEBOOKS if number < "07"]


def test_two_days_have_all_sections_and_all_exercises_of_part_one():
    blocks = minutes.blocks(WORKSHOP / "two_days.md")
    sections = [(number, heading) for block in blocks for number in block.chosen for heading in block.chosen[number]]
    assert sorted(sections) == sorted((number, heading) for number in PART_ONE for heading in minutes.sections(number))
    wanted = {name for name, exercise in EXERCISES.items() if exercise.notebook in PART_ONE}
    assert {name for block in blocks for name in block.exercises} == wanted


def test_two_days_name_the_notebooks_of_part_two_as_a_choice():
    choice = (WORKSHOP / "two_days.md").read_text(encoding="utf-8").split("## A choice instead")[1]
    for number in set(minutes.NOTEBOOKS) - set(PART_ONE):
        assert f"({'../notebooks/' + minutes.NOTEBOOKS[number].name})" in choice


def test_three_days_have_a_block_for_every_notebook():
    chosen = {number for block in minutes.blocks(WORKSHOP / "three_days.md") for number in block.chosen}
    assert chosen == set(minutes.NOTEBOOKS)


def test_the_items_of_the_half_day_fill_its_blocks():
    for block in minutes.blocks(WORKSHOP / "half_day.md"):
        items = re.findall(r"^\d\. \*\*(\d+) minutes?", block.text, re.MULTILINE)
        assert block.title == "Break" or sum(map(int, items)) == block.has, block.title


def test_the_readme_states_the_length_of_each_agenda():
    text = (WORKSHOP / "README.md").read_text(encoding="utf-8")
    lengths = [blocks[-1].end - blocks[0].begin for blocks in map(minutes.blocks, AGENDAS)]
    stated = re.findall(r"\(\w+\.md\) \| (?:twice |three times )?(\d+) h(?: (\d+) min)?", text)
    assert [60 * int(hours) + int(part or 0) for hours, part in stated] == lengths


def test_headings_that_are_no_blocks_are_no_times():
    for path in AGENDAS:
        times = re.findall(r"^## \d.*$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(times) == len(minutes.blocks(path))


@pytest.mark.parametrize("number", minutes.NOTEBOOKS)
def test_a_notebooks_page_states_the_minutes_of_the_rule(number):
    """To five minutes: everything, and the exercises."""
    parts = minutes.sections(number).values()
    everything = sum(part.minutes() for part in parts) + minutes.running_minutes(number)
    exercises = sum(part.minutes() - part.minutes([]) for part in parts)
    text = " ".join((WORKSHOP / "notebooks" / f"{number}.md").read_text(encoding="utf-8").split())
    stated = re.search(r"about (\d+) minutes with everything, (\d+) of them for exercises", text)
    assert tuple(map(int, stated.groups())) == (5 * round(everything / 5), 5 * round(exercises / 5))


@cache
def titles(number):
    """The heading of each slide of a notebook."""
    deck = make_slides.deck(nbformat.read(minutes.NOTEBOOKS[number], as_version=4), "")
    return [unescape(title) for title in re.findall(r"<section aria-label='([^']*)'", deck)]


@pytest.mark.parametrize("path", AGENDAS, **relative)
def test_slides_that_an_agenda_names_are_there(path):
    """Where it says "slide *Title*", one at least; where it says "the two slides *Title*", two."""
    for block in minutes.blocks(path):
        text, counts = " ".join(block.text.split()), {"two": 2, "three": 3, "four": 4}
        for count, named in re.findall(r"(?:(\w+) )?[Ss]lides? ((?:\*[^*]+\*(?: and )?)+)", text):
            for title in re.findall(r"\*([^*]+)\*", named):
                found = [name for number in block.chosen for name in titles(number) if name.startswith(title)]
                assert len(found) == counts.get(count, len(found)) > 0, f"{block.title}: {count} slides {title}"


# Links


def anchors(path):
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, **relative)
def test_every_file_and_place_that_is_linked_exists(path):
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        linked = (path.parent / name).resolve() if name else path
        assert linked.is_file(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("path", PAGES, **relative)
def test_every_file_that_is_named_exists(path):
    """In backticks: files of the repository, slides, make targets, exercises."""
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    decks = {f"{notebook.stem}.html" for notebook in make_slides.NOTEBOOKS} | {"handout.html", "index.html"}
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"`make ([\w-]+)|^ *make ([\w-]+)(?: NAME=.*)?$", text, re.MULTILINE):
        assert "".join(name) in targets
    for name in re.findall(r"([\w-]+\.html)", text):
        assert name in decks
    for name in re.findall(r"scripts[/\\]\w+\.py", text):
        assert (ROOT / name.replace("\\", "/")).is_file()
    for name in re.findall(rf"`({'|'.join(sorted({one.split('.')[0] for one in EXERCISES}))})\.(\w+)`", text):
        assert name == ("schedule", "T") or ".".join(name) in EXERCISES


def test_every_notebook_has_a_page_with_all_its_parts():
    assert [path.stem for path in sorted((WORKSHOP / "notebooks").glob("*.md"))] == list(minutes.NOTEBOOKS)
    for path in (WORKSHOP / "notebooks").glob("*.md"):
        headings = re.findall(r"^## (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert headings == [
            "Goals",
            "What people ask",
            "Where they get stuck",
            "Skipping ahead",
            "A question for the room",
        ]


def test_every_exercise_is_on_the_page_of_its_notebook():
    for exercise in EXERCISES.values():
        assert f"`{exercise.name}`" in (WORKSHOP / "notebooks" / f"{exercise.notebook}.md").read_text(encoding="utf-8")


# The rule


def test_the_rule_on_a_notebook_of_which_it_is_known(tmp_path, monkeypatch):
    words = " ".join(["word"] * 298)
    cells = [
        new_markdown_cell("# 9. Title"),
        new_markdown_cell(f"## First\n{words}"),  # 300 words: 2 minutes
        new_code_cell("1 + 1"),  # half a minute
        new_markdown_cell("## Second\n\n**Predict.** What?"),  # 1 minute and 4 words
        new_code_cell("from course_utils.classroom.widgets import noise_slider"),  # 2.5 minutes
        new_code_cell('add_noise = check("forward.add_noise", add_noise)'),  # 0.5, and 5 for the exercise: two lines
    ]
    path = tmp_path / "09.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    monkeypatch.setitem(minutes.NOTEBOOKS, "09", path)
    found = minutes.sections("09")
    assert list(found) == ["Top", "First", "Second"]
    assert found["First"].minutes() == pytest.approx(2.5, abs=0.01)
    assert found["Second"].minutes([]) == pytest.approx(4 + 4 / 150, abs=0.01)
    assert found["Second"].minutes() - found["Second"].minutes([]) == pytest.approx(5)


# The table of a class

NONE = {name: {"tries": 0, "right": None} for name in EXERCISES}
FIRST, SECOND, THIRD = (names[0] for names in list(class_table.BY_NOTEBOOK.values())[:3])


def handed_in(name, **changed):
    return class_table.line(name, class_table.signs(NONE | changed))


def solved(tries):
    return {"tries": tries, "right": "2026-01-02"}


def table_of(capsys, tmp_path, *texts):
    paths = []
    for number, text in enumerate(texts):
        paths.append(tmp_path / f"chat{number}.txt")
        paths[-1].write_bytes(text if isinstance(text, bytes) else text.encode())
    status = class_table.main([str(path) for path in paths])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_what_hand_in_prints_is_read_back(capsys, monkeypatch):
    kept = NONE | {FIRST: solved(3), SECOND: {"tries": 12, "right": None}}
    monkeypatch.setattr(class_table, "read_progress", lambda: kept)
    class_table.hand_in("  Ada Lovelace ")
    [line] = capsys.readouterr().out.splitlines()
    name, signs = class_table.parsed(line)
    assert name == "Ada Lovelace"
    assert (signs[FIRST], signs[SECOND]) == ("3", "o")
    assert [sign for sign in signs.values() if sign != "n"] == ["3", "o"]
    assert class_table.sign(solved(40)) == "9"
    assert re.fullmatch(r"[\w |]+", line)  # nothing that a chat turns into something else


@pytest.mark.parametrize(
    ("error", "name"), [(TypeError, 3), (ValueError, ""), (ValueError, " "), (ValueError, "A|B"), (ValueError, "A\nB")]
)
def test_a_name_that_would_break_the_line(error, name):
    with pytest.raises(error, match="hand_in"):
        class_table.hand_in(name)


def test_the_documented_line_is_one():
    for text in (class_table.__doc__, (WORKSHOP / "README.md").read_text(encoding="utf-8")):
        [line] = re.findall(r"^ *(progress \| Ada.*)$", text, re.MULTILINE)
        assert class_table.parsed(line)[0] == "Ada"


def test_a_whole_chat_becomes_a_table(capsys, tmp_path):
    chat = f"""09:12 Bob: hello, progress is slow | isn't it
[09:13] Bob: {handed_in("Bob", **{FIRST: solved(1)})}
> {handed_in("ada")}
"""
    status, out, err = table_of(capsys, tmp_path, chat)
    rows = out.splitlines()
    assert (status, err) == (0, "")
    assert [row.split()[0] for row in rows[1:3]] == ["ada", "Bob"]
    assert rows[1].endswith(f"0 of {len(EXERCISES)}")
    assert rows[2].endswith(f"1 of {len(EXERCISES)}")
    [counted] = [row.split()[-3:] for row in rows if f" {FIRST} " in row]
    assert counted == ["1", "0", "1"]


def test_whoever_hands_in_twice_is_listed_once_with_the_best(capsys, tmp_path):
    lines = [
        handed_in("Ada", **{FIRST: solved(5), SECOND: {"tries": 1, "right": None}}),
        handed_in("Ada", **{THIRD: solved(2)}),
        handed_in("Ada", **{FIRST: solved(2)}),
    ]
    status, out, _ = table_of(capsys, tmp_path, lines[0], "\n".join(lines[1:]))
    assert status == 0
    assert sum(row.startswith("Ada") for row in out.splitlines()) == 1
    assert f"2 of {len(EXERCISES)}" in out
    people, _ = class_table.collected([tmp_path / "chat0.txt", tmp_path / "chat1.txt"])
    assert [people["Ada"][name] for name in (FIRST, SECOND, THIRD)] == ["2", "o", "2"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda line: line[: len(line) // 2], "cut off"),
        (lambda line: line.replace("| Ada |", "|  |"), "no name"),
        (lambda line: line.replace("01 ", "01 n"), "another version"),  # of the course, which had one exercise more
        (lambda line: line.replace("02 n", "02 x"), "'xnnn'"),
        (lambda line: line.replace("02 nnnn", "02 nnn0"), "digit from 1"),
    ],
)
def test_a_damaged_line_is_named_and_spoils_no_other(capsys, tmp_path, change, says):
    line = handed_in("Ada")
    assert change(line) != line
    status, out, err = table_of(capsys, tmp_path, f"hello\n{change(line)}\n{handed_in('Bob')}\n")
    assert status == 1
    assert "Bob" in out
    assert "Ada" not in out
    assert err.startswith("Left out: chat0.txt, line 2: ")
    assert says in err


def test_more_notebooks_than_ours_do_no_harm(capsys, tmp_path):
    assert table_of(capsys, tmp_path, handed_in("Ada") + " | 99 nn1")[0] == 0


def test_a_chat_without_a_line(capsys, tmp_path):
    status, out, _ = table_of(capsys, tmp_path, "nobody\nanswers\n")
    assert status == 1
    assert "no line" in out


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_that_windows_writes(capsys, tmp_path, encoding):
    status, out, _ = table_of(capsys, tmp_path, handed_in("Zoë").encode(encoding))
    assert status == 0
    assert "Zoë" in out


def test_copies_of_progress_json(capsys, tmp_path):
    kept = {FIRST: solved(1), "gone.exercise": solved(1)}  # one that this version does not have
    (tmp_path / "Ada.json").write_text(json.dumps(kept))
    assert class_table.main([str(tmp_path / "Ada.json")]) == 0
    assert f"1 of {len(EXERCISES)}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text", ["{", "[1]", '{"forward.add_noise": 3}', '{"forward.add_noise": {"tries": 1}}', "\xff"]
)
def test_a_file_that_cannot_be_read_is_named(capsys, tmp_path, text):
    path = tmp_path / "Ada.json"
    path.write_bytes(text.encode("latin-1"))
    assert class_table.main([str(path), str(tmp_path / "missing.txt")]) == 1
    err = capsys.readouterr().err
    assert "Left out: Ada.json can't be read" in err
    assert "Left out: missing.txt can't be read" in err


# What becomes a slide


def cell(kind, source, slide=None, **more):
    made = {"markdown": new_markdown_cell, "code": new_code_cell}[kind](source, **more)
    if slide:
        made.metadata["slideshow"] = {"slide_type": slide}
    return made


def test_slides_begin_where_their_type_says():
    cells = [
        cell("markdown", "no type"),
        cell("markdown", "a", "slide"),
        cell("markdown", "b", "fragment"),
        cell("markdown", "c", "skip"),
        cell("markdown", "d", "notes"),
        cell("markdown", "e", "subslide"),
    ]
    found = make_slides.slides(new_notebook(cells=cells))
    assert [[one.source for one in slide] for slide in found] == [["a", "b", "d"], ["e"]]


@pytest.mark.parametrize(
    ("slide", "says"), [("slides", "not a slide type"), ("fragment", "no slide yet"), ("notes", "no slide yet")]
)
def test_a_slide_type_that_makes_no_sense(slide, says):
    with pytest.raises(ValueError, match=f"{says}.*some text"):
        make_slides.slides(new_notebook(cells=[cell("markdown", "some text", slide)]))


def test_the_essence_of_a_text():
    text = r"""## A heading

[![Open in Colab](https://example.org/badge.svg)](https://example.org)

The first paragraph,
with a formula $x$:

$$y

= x$$

More of it.

- a list about more

**Predict.** What?

- this
- or that

<details><summary>The finished version</summary>

**Exercise** in a folded part.

</details>

**Your turn.** Do it."""
    assert make_slides.essence(text) == [
        "## A heading",
        "The first paragraph,\nwith a formula $x$:",
        "$$y\n\n= x$$",
        "**Predict.** What?",
        "- this\n- or that",
        "**Your turn.** Do it.",
    ]


def test_blocks_lose_nothing():
    for path in make_slides.NOTEBOOKS:
        for one in nbformat.read(path, as_version=4).cells:
            if one.cell_type == "markdown":
                assert "".join("".join(make_slides.blocks(one.source)).split()) == "".join(one.source.split())


def png(width, height):
    head = (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + b"IHDR"
        + struct.pack(">II", width, height)
        + b"\x08\x00\x00\x00\x00"
    )
    return base64.b64encode(head).decode()


def figure(width, height, words="Twelve boots"):
    page = f"<details><summary>This figure in words</summary>{words}</details>"
    return [
        nbformat.v4.new_output("display_data", data={"image/png": png(width, height)}),
        nbformat.v4.new_output("display_data", data={"text/html": page}),
    ]


def test_a_figure_keeps_its_size_and_its_words():
    drawn = cell("code", "draw()", outputs=figure(300, 200, "Boots &amp; bags"))
    [(picture, words, _)] = make_slides.figures(drawn)
    assert make_slides.size(picture) == (300, 200)
    assert words == "Boots & bags"
    assert 'alt="Boots &amp; bags"' in make_slides.shown(drawn)
    assert "draw()" not in make_slides.shown(drawn)


@pytest.mark.parametrize(("size", "tall"), [((300, 300), True), ((900, 300), False)])
def test_words_stand_beside_a_tall_figure(size, tall):
    cells = [cell("markdown", "words"), cell("code", "draw()", outputs=figure(*size))]
    assert make_slides.beside(cells) == tall
    assert not make_slides.beside(cells[1:])


def test_code_that_is_long_shows_only_what_it_prints():
    said = [nbformat.v4.new_output("stream", text="0.5 < 1\n")]
    short, long = (cell("code", "x = 1\n" * lines, outputs=said) for lines in (make_slides.LONG, make_slides.LONG + 1))
    assert "highlight" in make_slides.shown(short)
    assert "highlight" not in make_slides.shown(long)
    assert "0.5 &lt; 1" in make_slides.shown(short)
    assert "0.5 &lt; 1" in make_slides.shown(long)


def test_links_stay_among_the_slides():
    page = make_slides.to_html("[one](01_forward_process.ipynb), [two](../README.md), [three](https://arxiv.org)")
    assert re.findall(r'href="([^"]*)"', page) == ["01_forward_process.html", "https://arxiv.org"]
    assert "two" in page


@pytest.mark.parametrize("path", make_slides.NOTEBOOKS, ids=lambda path: path.stem)
def test_a_deck_fetches_nothing_and_has_no_button_for_colab(path):
    page = make_slides.deck(nbformat.read(path, as_version=4), "")
    assert re.findall(r"""(?:src|srcset|data|poster)=["'](?!data:)""", page) == []
    assert re.findall(r"url\(|@import|<link|<iframe", page) == []
    assert "colab-badge" not in page
    assert "importlib.util.find_spec" not in page  # the cell that fetches the course
    assert page.count("<section") == len(make_slides.slides(nbformat.read(path, as_version=4))) >= 5


def test_the_handout_has_two_sheets():
    assert make_slides.handout(make_slides.HANDOUT.read_text(encoding="utf-8"), "").count("<article>") == 2
