"""The figure of notebook 09 that reads a benchmark's rows: only complete groups of seeds are drawn."""

import matplotlib.pyplot as plt
import pytest

from course_utils.classroom import plotting
from course_utils.classroom.figures import targets


def row(kind, seed, fcd):
    return dict(kind=kind, steps=2000, seed=seed, fcd=fcd, recall=0.5 + 0.1 * seed, precision=0.8)


REAL = [row("real", seed, 0.2) for seed in range(3)]
ROWS = [
    *REAL,
    *[row("noise, cosine, uniform", seed, 3 + seed) for seed in range(3)],
    *[row("v, cosine, middle", seed, 1.5) for seed in range(3)],
    *[row("velocity, straight, middle", seed, 1.0) for seed in range(2)],  # one seed is still missing
]


def test_groups_are_complete_and_averaged():
    found = targets.groups(ROWS)
    assert set(found) == {"real", "noise, cosine, uniform", "v, cosine, middle"}
    assert found["noise, cosine, uniform"] == pytest.approx((4.0, 1 / 3**0.5))
    assert targets.groups(ROWS, "recall")["v, cosine, middle"] == pytest.approx((0.6, 0.1 / 3**0.5))


def test_figure_has_a_dot_for_each_group(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(plotting, "show", lambda figure, description: shown.append((figure, description)))
    targets.quality(ROWS, "words")
    [(figure, description)] = shown
    figure.draw_without_rendering()
    assert description == "words"
    [axis] = figure.axes
    assert len(axis.containers) == 2
    assert [text.get_text() for text in axis.get_yticklabels()] == ["noise, cosine, uniform", "v, cosine, middle"]
    plt.close(figure)
    targets.table(ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert any(line.startswith("noise, cosine, uniform") and "FCD 4.00 ± 0.58" in line for line in lines)


@pytest.mark.parametrize("rows", [[], REAL, ROWS[:5]], ids=["none", "floor only", "one seed missing"])
def test_without_complete_rows_it_says_so(rows, monkeypatch, capsys):
    monkeypatch.setattr(plotting, "show", lambda *everything: pytest.fail("a figure was shown"))
    targets.quality(rows, "words")
    assert "Not measured yet" in capsys.readouterr().out


def test_a_missing_file_has_no_rows(tmp_path):
    assert targets.measured(tmp_path / "four_predictions.json") == []
