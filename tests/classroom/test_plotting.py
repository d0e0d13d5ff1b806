"""The figures' helpers: what they draw, and that every figure comes with its description."""

import io

import matplotlib.pyplot as plt
import pytest
import torch
from PIL import Image

from course_utils.classroom import figures, plotting
from course_utils.classroom.figures import network
from course_utils.unet import UNet


@pytest.fixture
def shown(monkeypatch):
    """Collects what the helpers would show: (figure, description)."""
    figures = []
    monkeypatch.setattr(plotting, "show", lambda figure, words, **options: figures.append((figure, words)))
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


def test_a_sharp_figure_has_twice_as_many_pixels_in_the_same_width(monkeypatch):
    widths = []

    def display(shown, metadata=None, display_id=None):
        if metadata:
            file = io.BytesIO()
            shown.savefig(file, bbox_inches="tight", dpi=shown.dpi)
            widths.append((Image.open(file).width, metadata["image/png"]["width"]))

    monkeypatch.setattr("IPython.display.display", display)
    figure = plt.figure(figsize=(3, 2), dpi=100)
    figure.add_axes((0, 0, 1, 1)).axis("off")
    figure.text(0.5, 0.5, "small print")
    plotting.show(figure, "a line", sharp=True)
    [(pixels, width)] = widths
    assert pixels == pytest.approx(2 * width, abs=2)


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


FRAMES = [torch.full((4, 6, 1), share) for share in (0.0, 0.5, 1.0)]


def test_film_is_an_animated_png_with_its_words_that_shows_the_last_frame_where_nothing_moves(monkeypatch):
    displayed = []
    monkeypatch.setattr("IPython.display.display", lambda *objects, **options: displayed.append((objects[0], options)))
    plotting.show_film(FRAMES, "three greys", seconds=3.0, hold=2.0, zoom=5)
    (bundle, options), (page, _) = displayed
    film = Image.open(io.BytesIO(bundle["image/png"]))
    assert "three greys" in page.data
    assert options["metadata"]["image/png"] == {"width": 30, "alt": "three greys"}
    assert film.n_frames == 1 + len(FRAMES)
    greys, times = [], []
    for number in range(film.n_frames):
        film.seek(number)
        greys.append(film.convert("L").getpixel((0, 0)))
        times.append(film.info.get("duration"))
    assert greys == [255, 0, 128, 255]
    assert times[1:] == [1000.0, 1000.0, 2000.0]


def test_film_that_is_too_large_is_refused():
    with pytest.raises(ValueError, match=r"more than 1\. Use fewer, or smaller, frames"):
        plotting.show_film([torch.rand(800, 800, 3) for _ in range(2)], "words")


def test_figure_is_drawn_as_a_frame():
    figure = plt.figure(figsize=(2, 1), dpi=50)
    frame = plotting.drawn(figure)
    assert frame.shape == (50, 100, 3)
    assert frame.min() == frame.max() == 1
    assert not plt.fignum_exists(figure.number)


def test_names_of_curves_stand_at_their_ends_and_apart(shown):
    plotting.show_curves({"": {"one": [0, 1], "two": [1, 1.001], "three": [2, 0]}}, "words", "t")
    [(figure, _)] = shown
    names = {text.get_text(): text.get_position()[1] for text in figure.axes[0].texts}
    assert set(names) == {"one", "two", "three"}
    assert names["three"] < names["one"] < names["two"]
    assert names["two"] - names["one"] > 0.08


def test_ticks_are_plain_numbers_on_logarithmic_axes(shown):
    plotting.show_curves({"": {"": ([1, 2, 3], [0.001, 1, 10000])}}, "words", "t", yscale="log")
    [(figure, _)] = shown
    figure.draw_without_rendering()
    said = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert {"0.001", "1", "10,000"} <= set(said)


def test_spread_is_drawn_as_bars(shown):
    plotting.show_curves({"": {"a": ([1, 2], [3.0, 4.0], [0.5, 0.25])}}, "words", "t")
    [(figure, _)] = shown
    [bars] = figure.axes[0].collections
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[2.5, 3.5], [3.75, 4.25]]


def test_descriptions_go_by_keys(monkeypatch):
    monkeypatch.setattr(
        figures, "entries", lambda notebook: {"boot": "A boot,\nat t = {t:,}."} if notebook == "01" else {}
    )
    assert figures.words("01.boot", t=1000) == "A boot, at t = 1,000."
    assert figures.words("words of one's own") == "words of one's own"
    with pytest.raises(KeyError, match=r"01\.toml has no description called shoe. It has: boot"):
        figures.words("01.shoe")
