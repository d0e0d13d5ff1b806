"""The figures' helpers: what they draw, and that every figure comes with its description."""

import matplotlib.pyplot as plt
import pytest
import torch

from course_utils.classroom import plotting
from course_utils.classroom.figures import network
from course_utils.unet import UNet


@pytest.fixture
def shown(monkeypatch):
    """Collects what the helpers would show: (figure, description)."""
    figures = []
    monkeypatch.setattr(plotting, "show", lambda figure, description: figures.append((figure, description)))
    yield figures
    plt.close("all")


DRAW = {
    "images": lambda: plotting.show_images(torch.zeros(3, 1, 4, 4), "words", titles=["a", "b", "c"], columns=2),
    "rows": lambda: plotting.show_rows(
        {"a": torch.zeros(2, 3, 4, 4), "b": torch.ones(2, 3, 4, 4)}, "words", ["1", "2"]
    ),
    "curves": lambda: plotting.show_curves({"": {"a": torch.arange(3), "b": ([0, 1], [2, 3])}}, "words", "t"),
    "points": lambda: plotting.show_points({"a": torch.zeros(5, 2), "b": [torch.zeros(5, 2)] * 2}, "words"),
    "paths": lambda: plotting.show_paths({"a": torch.zeros(4, 5, 2)}, "words"),
    "heatmap": lambda: plotting.show_heatmap(torch.eye(3), "words", "t", "entry"),
    "process": lambda: plotting.show_process(torch.zeros(3, 1, 4, 4), [0, 1, 5], ["x_0", "x_1", "x_T"], "words"),
    "network": lambda: network.show_network(UNet(base_channels=8, multipliers=(1, 2, 3)), "words", side=16),
    "block": lambda: network.show_block("words"),
    "clocks": lambda: network.show_clocks([1, 2], torch.eye(4)[:2], "words"),
    "attention": lambda: network.show_attention(torch.zeros(1, 4, 4), torch.rand(2, 4, 4), 0, 1, "words"),
}


@pytest.mark.parametrize("name", DRAW)
def test_each_helper_draws_one_figure_and_describes_it(name, shown):
    DRAW[name]()
    [(figure, description)] = shown
    figure.draw_without_rendering()
    assert description == "words"


def test_show_displays_the_description_in_words_and_closes_the_figure(capsys):
    figure = plt.figure()
    plotting.show(figure, "black & white")
    assert "<IPython.core.display.HTML object>" in capsys.readouterr().out
    assert not plt.fignum_exists(figure.number)


def test_growing_rows_shows_one_figure_and_then_redraws_it(monkeypatch):
    shown, redrawn = [], []
    monkeypatch.setattr(plotting, "show", lambda figure, words: shown.append((figure, words)) or redrawn.append)
    add = plotting.growing_rows("words", titles=["1", "2"])
    for name in "abc":
        add(name, torch.zeros(2, 1, 4, 4))
    [(first, words)] = shown
    assert words == "words"
    assert [len(figure.axes) for figure in [first, *redrawn]] == [2, 4, 6]
    plt.close("all")


def test_description_is_escaped(monkeypatch):
    displayed = []
    monkeypatch.setattr("IPython.display.display", lambda *objects, **options: displayed.extend(objects))
    plotting.show(plt.figure(), "x < 1 & y")
    assert "x &lt; 1 &amp; y" in displayed[1].data


def test_pixels_map_minus_one_to_black_and_one_to_white_and_cut_the_rest():
    image = torch.tensor([[[-3.0, -1.0], [0.0, 1.0]]])
    assert plotting.pixels(image).tolist() == [[0.0, 0.0], [0.5, 1.0]]


def test_tile_puts_images_row_by_row():
    sheet = plotting.tile(torch.tensor([-1.0, 0.0, 1.0]).reshape(3, 1, 1, 1), columns=2)
    assert sheet.shape == (4, 4, 1)
    assert sheet[1, 1] == 1  # the margin is white
    assert [sheet[0, 0].item(), sheet[0, 3].item(), sheet[3, 0].item()] == [0.0, 0.5, 1.0]


def test_save_grid_writes_grey_values(tmp_path):
    plotting.save_grid(tmp_path / "grid.png", torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1), columns=2, zoom=1)
    picture = plt.imread(tmp_path / "grid.png")
    assert picture[0, 0, :3].tolist() == [0, 0, 0]
    assert picture[0, 3, :3].tolist() == [1, 1, 1]
