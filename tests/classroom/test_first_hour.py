"""The first hour's films, chooser, scrubber and drawings: what they show, and that a click changes it."""

import itertools

import ipywidgets
import matplotlib.pyplot as plt
import pytest
import torch

from course_utils.classroom import plotting
from course_utils.classroom.figures import first_hour
from course_utils.mixture import exact_denoiser


@pytest.fixture
def shown(monkeypatch):
    """Collects what would be shown: (figure or frames, description), and widgets."""
    found = []
    monkeypatch.setattr(plotting, "show", lambda figure, description: found.append((figure, description)))
    monkeypatch.setattr(
        plotting, "show_film", lambda frames, description, **options: found.append((frames, description))
    )
    monkeypatch.setattr(first_hour, "display", found.append)
    yield found
    plt.close("all")


@pytest.fixture
def quick(monkeypatch):
    """Garments that emerge without a network: step i is as bright as i and the kind say."""

    def emerge(kinds, num_steps=50):
        for i in range(num_steps + 1):
            yield torch.tensor(kinds).reshape(-1, 1, 1, 1).expand(-1, 1, 28, 28) / 10 + i / 100 - 0.5

    monkeypatch.setattr(first_hour, "emerge", emerge)


def all_in(widget):
    return [widget, *itertools.chain.from_iterable(map(all_in, getattr(widget, "children", ())))]


def only(box, kind):
    [found] = [widget for widget in all_in(box) if type(widget) is kind]
    return found


def test_garments_emerge_from_noise_within_the_range_of_pictures():
    states = list(first_hour.emerge([0, 9], num_steps=2))
    assert [tuple(x.shape) for x in states] == [(2, 1, 28, 28)] * 3
    assert states[0].abs().max() > 1.5
    assert states[-1].abs().max() <= 1


def test_thirty_garments_are_three_of_each_kind(shown, monkeypatch):
    asked = []
    monkeypatch.setattr(first_hour, "emerge", lambda kinds: asked.append(kinds.tolist()) or [torch.zeros(30, 1, 4, 4)])
    first_hour.thirty_garments("words")
    [(frames, description)] = shown
    assert sorted(asked[0]) == sorted(3 * list(range(10)))
    assert (len(frames), description) == (1, "words")


def test_a_click_on_a_kind_draws_six_of_it_and_the_button_six_more(quick):
    box = first_hour.chooser_box(torch.zeros(6, 1, 28, 28))
    picture, words = only(box, ipywidgets.Image), only(box, ipywidgets.HTML)
    before, shows = bytes(picture.value), []
    picture.observe(lambda change: shows.append(change.new), names="value")
    only(box, ipywidgets.ToggleButtons).value = "Sandal"
    assert bytes(picture.value) != before
    assert len(shows) > 20  # it is seen to emerge
    assert "Sandal: step 50 of 50" in words.value
    only(box, ipywidgets.Button).click()
    assert len(shows) > 40


def test_chooser_shows_its_controls_and_then_a_still(quick, shown):
    first_hour.choose_a_kind("words")
    box, (_, description) = shown
    assert isinstance(box, ipywidgets.Box)
    assert description == "words"


def test_scrubber_goes_from_the_first_state_to_the_last(shown):
    states = [torch.full((1, 1, 4, 4), value) for value in torch.linspace(-1, 1, 11).tolist()]
    first_hour.scrubber(states, "words")
    box, (figure, description) = shown
    slider, picture = only(box, ipywidgets.IntSlider), only(box, ipywidgets.Image)
    assert (slider.min, slider.max, description, len(figure.axes)) == (0, 10, "words", 8)
    seen = set()
    for step in range(11):
        slider.value = step
        seen.add(bytes(picture.value))
    assert len(seen) == 11


def test_points_arrive_on_the_islands_in_many_steps_and_in_the_middle_in_one(shown):
    mixture, cosine = first_hour.three_islands()
    middle = exact_denoiser(mixture, cosine)(torch.randn(20, 2), cosine.T)
    assert (middle - mixture.mean()).abs().max() < 0.01
    first_hour.points_walk("words", count=5)
    [(frames, description)] = shown
    assert (len(frames), description) == (27, "words")
    assert not torch.equal(frames[0], frames[-1])


def test_arrows_and_there_and_back_are_one_figure_each(shown):
    first_hour.arrows_home([9, 5], "words")
    first_hour.there_and_back(torch.zeros(3, 1, 4, 4), torch.ones(3, 1, 4, 4), [0, 5, 9], "other words")
    assert [description for _, description in shown] == ["words", "other words"]
    for figure, _ in shown:
        figure.draw_without_rendering()
