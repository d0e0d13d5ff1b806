"""The figure of notebook 08 that reads a benchmark's rows: only complete groups of seeds are drawn."""

import matplotlib.pyplot as plt
import pytest

from course_utils.classroom import plotting
from course_utils.classroom.figures import dial


def row(scale, seed, fcd, levels="all", clip="after"):
    return dict(scale=scale, levels=levels, clip=clip, seed=seed, fcd=fcd, precision=0.8 + fcd / 10, recall=0.5)


REAL = [row("real", seed, 0.03, levels=0, clip=0) for seed in range(3)]
ROWS = [
    *REAL,
    *[row(scale, seed, 0.5 + 0.1 * seed + scale) for scale in (3, 0, 1.5, 1) for seed in range(3)],
    *[row(2, seed, 0.2, levels="200 .. 800") for seed in range(3)],
    *[row(10, seed, 0.9, clip="before") for seed in range(2)],  # one seed is still missing
    row(5, 0, 0.4),
]


def test_groups_are_complete_sorted_and_averaged():
    found = dial.groups(ROWS, "fcd")
    assert list(found) == [(0, 0), ("all", "after"), ("200 .. 800", "after")]
    scales, means, errors = found["all", "after"]
    assert scales == [0, 1, 1.5, 3]
    assert means == pytest.approx([0.6, 1.6, 2.1, 3.6])
    assert errors == pytest.approx([0.1 / 3**0.5] * 4)


def test_figure_has_a_panel_for_each_measure_and_a_curve_for_each_group(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(plotting, "show", lambda figure, description: shown.append((figure, description)))
    dial.quality_by_scale(ROWS, "words")
    [(figure, description)] = shown
    figure.draw_without_rendering()
    assert description == "words"
    assert [axis.get_title(loc="left") for axis in figure.axes] == list(dial.PANELS.values())
    labels = {text.get_text() for text in figure.axes[0].texts}
    assert labels == {"all levels", "200 .. 800", "real pictures"}
    plt.close(figure)
    dial.table(ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 4 + 1
    assert any(line.startswith("all levels    scale 1.5") and "fcd 2.100 ± 0.058" in line for line in lines)


@pytest.mark.parametrize("rows", [[], REAL, ROWS[:5]], ids=["none", "floor only", "one seed missing"])
def test_without_complete_rows_it_says_so(rows, monkeypatch, capsys):
    monkeypatch.setattr(plotting, "show", lambda *everything: pytest.fail("a figure was shown"))
    dial.quality_by_scale(rows, "words")
    assert "no complete rows yet" in capsys.readouterr().out


def test_a_missing_file_has_no_rows(tmp_path):
    assert dial.measured(tmp_path / "guidance_scale.json") == []
