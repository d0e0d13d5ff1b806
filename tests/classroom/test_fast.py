"""The figure of notebook 10 that reads a benchmark's rows: only complete groups of seeds count."""

import json

import matplotlib.pyplot as plt
import pytest

from course_utils.classroom import plotting
from course_utils.classroom.figures import fast

BEST = "from 980"


def rows(solver, levels, calls, fcd, seeds=3):
    return [
        dict(solver=solver, levels=levels, calls=calls, seed=seed, fcd=fcd + 0.1 * seed, recall=0.5)
        for seed in range(seeds)
    ]


REAL = rows("real", 0, 0, 0.03)
ROWS = [
    *REAL,
    *rows("DDIM", "even", 50, 0.4),
    *rows("DDIM", "even", 10, 0.8),
    *rows("2M", BEST, 10, 0.3),
    *rows("DDIM", "straight", 10, 0.7),
    *rows("DDIM", "straight", 5, 0.9),
    *rows("Heun", "even", 10, 1.0),
    *rows("Heun", "even", 20, 1.0, seeds=2),  # one seed is still missing
]


def test_groups_are_complete_sorted_and_averaged():
    found = fast.summary(ROWS, "fcd")
    assert {curve: list(at) for curve, at in found.items()} == {
        "real": [0],
        "Euler, straight path": [5, 10],
        "DDIM": [10, 50],
        f"2M, {BEST}": [10],
        "Heun": [10],
    }
    assert found["DDIM"][10] == pytest.approx((0.9, 0.1 / 3**0.5))


def test_figure_has_a_curve_for_whatever_has_two_groups(monkeypatch):
    shown = []
    monkeypatch.setattr(plotting, "show", lambda figure, description: shown.append((figure, description)))
    fast.quality_by_calls(ROWS, "10.quality")
    [(figure, description)] = shown
    figure.draw_without_rendering()
    assert "DDIM goes from 0.90 to 0.50 in fcd (10 to 50 calls)" in description
    assert {text.get_text() for text in figure.axes[0].texts} == {"DDIM", "Euler, straight path", "real"}
    plt.close(figure)


def test_table_has_the_target_and_then_the_best_first(capsys):
    fast.at_the_target(ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "50 calls  DDIM: FCD 0.500 ± 0.058"
    assert [line.split(": ")[0] for line in lines[1:]] == [
        f"10 calls  2M, {BEST}",
        "10 calls  Euler, straight path",
        "10 calls  DDIM",
        "10 calls  Heun",
    ]


@pytest.mark.parametrize("some", [[], REAL, ROWS[:5]], ids=["none", "floor only", "one seed missing"])
def test_without_complete_rows_it_says_so(some, monkeypatch, capsys):
    monkeypatch.setattr(plotting, "show", lambda *everything: pytest.fail("a figure was shown"))
    fast.quality_by_calls(some, "10.quality")
    fast.at_the_target(some)
    assert capsys.readouterr().out.count("Not measured yet") == 2


def test_rows_of_ddim_and_ddpm_come_from_the_other_benchmark(tmp_path):
    assert fast.measured(tmp_path) == []
    plain = [dict(sampler=sampler, steps=20, seed=0, fcd=0.5) for sampler in ("real", "eta = 0", "eta = 1 (DDPM)")]
    (tmp_path / "steps_and_eta.json").write_text(json.dumps(dict(rows=plain)))
    (tmp_path / "solvers.json").write_text(json.dumps(dict(rows=ROWS)))
    *first, ddim, ddpm = fast.measured(tmp_path)
    assert first == ROWS
    assert (ddim["solver"], ddim["levels"], ddim["calls"], ddim["fcd"]) == ("DDIM", "even", 20, 0.5)
    assert ddpm["solver"] == "DDPM"
