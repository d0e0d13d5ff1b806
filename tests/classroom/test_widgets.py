"""The widgets: their controls are moved as a front end would, and pictures and words compared with other sources."""

import html
import io
import itertools
import math
import re

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from course_utils.classroom import plotting, widgets
from course_utils.sampling import ddim_step, ddpm_step, sample, sample_steps
from course_utils.schedule import cosine_schedule, linear_schedule
from course_utils.unet import UNet

IMAGE = torch.linspace(-1, 1, 4 * 6).reshape(1, 1, 4, 6)  # the height is not the width
FASHION_SIZE = torch.linspace(-1, 1, 28 * 28).reshape(1, 1, 28, 28)


def all_in(widget):
    return [widget, *itertools.chain.from_iterable(map(all_in, getattr(widget, "children", ())))]


def control(box, label):
    [found] = [widget for widget in all_in(box) if getattr(widget, "description", None) == label]
    return found


def picture(box):
    """The bytes of what the box shows."""
    [found] = [widget for widget in all_in(box) if isinstance(widget, ipywidgets.Image)]
    return bytes(found.value)


def words(box):
    [found] = [widget for widget in all_in(box) if isinstance(widget, ipywidgets.HTML)]
    return html.unescape(re.sub("<.*?>", "", found.value))


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text)]


def grey(png, zoom):
    """The grey levels 0 .. 255 of a PNG file whose pixels are `zoom` pixels wide."""
    levels = np.round(255 * plt.imread(io.BytesIO(png), format="png")[..., :3])
    assert (levels == levels[..., :1]).all()
    assert (levels == levels[::zoom, ::zoom].repeat(zoom, 0).repeat(zoom, 1)).all()
    return levels[::zoom, ::zoom, 0]


def as_grey(x):
    """-1 .. 1 to 0 .. 255, in numpy, one image."""
    return np.round(255 * np.clip((np.asarray(x, dtype=np.float64) + 1) / 2, 0, 1))


def alpha_bar_of(beta_1, beta_T, T):
    """The linear schedule's, from index 0, in numpy alone."""
    return np.concatenate([[1], np.cumprod(1 - np.linspace(beta_1, beta_T, T))])


@pytest.fixture(scope="module")
def unet():
    return UNet(base_channels=8)


@pytest.fixture(scope="module")
def states():
    """A walk of 5 steps, for 2 images, with a denoiser that is not perfect."""
    x_T = torch.randn(2, 1, 4, 6, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(2)
    return list(
        sample_steps(lambda x, t: 0.3 * x, x_T.shape, cosine_schedule(), ddpm_step, 5, x_T=x_T, generator=generator)
    )


X_T = torch.randn(2, 1, 4, 6, generator=torch.Generator().manual_seed(3))


def shrink(x_t, t):
    return 0.5 * x_t


@pytest.fixture(scope="module")
def made():
    return widgets.make_all(shrink, X_T, cosine_schedule())


def told(x_t, t):
    return 0.5 * x_t + 0.001 * t - 0.2


@pytest.fixture(scope="module")
def made_guided():
    return widgets.make_guided(told, shrink, X_T, cosine_schedule())


@pytest.fixture(scope="module")
def solved():
    return widgets.solve_all(bend, X_T, cosine_schedule())


def bend(x_t, t):
    """Unlike `shrink`, with a guess that no straight step follows."""
    return (x_t + t / 500).tanh()


@pytest.fixture(
    params=[
        "noise",
        "schedule",
        "unet",
        "trajectory",
        "steps and eta",
        "two clouds",
        "guidance",
        "predictions",
        "solver and calls",
    ]
)
def box(request, unet, states, made, made_guided, solved):
    """The box of each widget."""
    make = {
        "noise": lambda: widgets.noise_slider_box(IMAGE, linear_schedule(50)),
        "schedule": lambda: widgets.schedule_designer_box(IMAGE),
        "unet": lambda: widgets.unet_explorer_box(widgets.explore(unet, FASHION_SIZE)),
        "trajectory": lambda: widgets.trajectory_scrubber_box(states),
        "steps and eta": lambda: widgets.steps_and_eta_box(made),
        "two clouds": widgets.two_clouds_box,
        "guidance": lambda: widgets.guidance_dial_box(made_guided),
        "predictions": lambda: widgets.prediction_dial_box(IMAGE),
        "solver and calls": lambda: widgets.solver_and_calls_box(solved),
    }
    return make[request.param]()


def controls(box):
    kinds = (ipywidgets.IntSlider, ipywidgets.SelectionSlider, ipywidgets.RadioButtons)
    return [widget for widget in all_in(box) if isinstance(widget, kinds)]


def values(control):
    if isinstance(control, ipywidgets.IntSlider):
        return range(control.min, control.max + 1)
    return [value for _, value in control._options_full]


# All of them


def test_every_control_has_a_label_and_reports_while_it_moves(box):
    assert controls(box)
    for found in controls(box):
        assert found.description
        assert getattr(found, "continuous_update", True)


def test_every_change_shows_in_the_picture_and_in_the_words(box):
    """Also the way back: the same values give the same picture, whatever came between."""
    for found in controls(box):
        at_first = found.value
        for before, after in itertools.pairwise(values(found)):
            found.value = before
            first = picture(box), words(box)
            found.value = after
            assert words(box) != first[1]
            found.value = before
            assert (picture(box), words(box)) == first
        start, end = values(found)[0], values(found)[-1]
        found.value = start
        at_start = picture(box)
        found.value = end
        assert picture(box) != at_start
        found.value = at_first


def test_nothing_is_printed_for_any_combination_of_the_ends(box, capfd):
    """Nor raised, nor warned of: pytest turns warnings into errors here."""
    ends = [[values(found)[0], values(found)[-1]] for found in controls(box)]
    for chosen in itertools.product(*ends):
        for found, value in zip(controls(box), chosen, strict=True):
            found.value = value
        assert picture(box).startswith(b"\x89PNG")
        assert words(box)
    assert capfd.readouterr() == ("", "")


def test_words_are_escaped_and_picture_is_png():
    box = widgets.live({}, lambda: (b"\x89PNG", "1 < 2 & <b>"))
    [found] = [widget for widget in all_in(box) if isinstance(widget, ipywidgets.HTML)]
    assert "1 &lt; 2 &amp; &lt;b&gt;" in found.value


SHOWN = {
    "noise": lambda: widgets.noise_slider(IMAGE, linear_schedule(50), "words"),
    "schedule": lambda: widgets.schedule_designer(IMAGE, "words"),
    "unet": lambda: widgets.unet_explorer(UNet(base_channels=8), FASHION_SIZE, "words"),
    "trajectory": lambda: widgets.trajectory_scrubber(
        sample_steps(shrink, X_T.shape, cosine_schedule(), ddim_step, 3), "words"
    ),
    "steps and eta": lambda: widgets.steps_and_eta(shrink, X_T, cosine_schedule(), "words"),
    "two clouds": lambda: widgets.two_clouds("words"),
    "guidance": lambda: widgets.guidance_dial(told, shrink, X_T, cosine_schedule(), "words"),
    "predictions": lambda: widgets.prediction_dial(IMAGE, "words"),
    "solver and calls": lambda: widgets.solver_and_calls(shrink, X_T, cosine_schedule(), "words"),
}


@pytest.mark.parametrize("name", SHOWN)
def test_controls_come_first_and_then_a_still_picture(name, monkeypatch):
    shown = []
    monkeypatch.setattr(plotting, "show", lambda figure, description: shown.append((figure, description)))
    monkeypatch.setattr(widgets, "display", shown.append)
    assert SHOWN[name]() is None  # a cell ends with it, and would print anything else
    [box, (figure, description)] = shown
    figure.draw_without_rendering()
    plt.close(figure)
    assert description == "words"
    assert isinstance(box, ipywidgets.Box)
    assert controls(box)


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_coloured_images_are_shown(channels):
    image = torch.zeros(1, channels, 4, 6)
    box = widgets.noise_slider_box(image, linear_schedule(50))
    assert plt.imread(io.BytesIO(picture(box)), format="png").shape[2] >= 3
    assert picture(widgets.schedule_designer_box(image)).startswith(b"\x89PNG")


@pytest.mark.parametrize("value", [math.nan, math.inf, -1e30])
def test_values_that_no_picture_has_are_shown_without_a_word(value, capfd):
    image = torch.full((1, 1, 4, 6), value)
    control(widgets.noise_slider_box(image, linear_schedule(50)), "t").value = 3
    widgets.schedule_designer_box(image)
    box = widgets.trajectory_scrubber_box([(5, image, image), (0, image, image)])
    control(box, "step").value = 2
    assert capfd.readouterr() == ("", "")


REFUSED = {  # what they can't show: by the sampler, and by shapes_through
    "fewer than 100 levels": (lambda: widgets.solver_and_calls(shrink, X_T, cosine_schedule(50), "words"), "num_steps"),
    "fewer than 50 levels": (lambda: widgets.steps_and_eta(shrink, X_T, cosine_schedule(20), "words"), "num_steps"),
    "fewer than 20 levels": (
        lambda: widgets.guidance_dial(told, shrink, X_T, cosine_schedule(10), "words"),
        "num_steps",
    ),
    "no denoiser": (lambda: widgets.steps_and_eta(None, X_T, cosine_schedule(), "words"), "denoise"),
    "another network": (lambda: widgets.unet_explorer(torch.nn.Identity(), IMAGE, "words"), "unet must"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_shown_is_refused_by_name(name):
    call, word = REFUSED[name]
    with pytest.raises(ValueError, match=word):
        call()


# The noise slider


@pytest.mark.parametrize("t", [0, 1, 17, 49, 50])
def test_noise_slider_shows_the_two_parts_and_their_sum(t):
    box = widgets.noise_slider_box(IMAGE, linear_schedule(50))
    control(box, "t").value = t
    alpha_bar = alpha_bar_of(1e-4, 0.02, 50)[t]
    noise = torch.randn(IMAGE.shape, generator=torch.Generator().manual_seed(0))[0, 0].numpy()
    kept, added = alpha_bar**0.5 * IMAGE[0, 0].numpy(), (1 - alpha_bar) ** 0.5 * noise
    levels = grey(picture(box), zoom=8)
    assert levels.shape == (4, 3 * 6 + 2 * 2)
    for i, part in enumerate((kept, added, kept + added)):
        assert np.abs(levels[:, 8 * i : 8 * i + 6] - as_grey(part)).max() <= 1  # float32 may round the other way


@pytest.mark.parametrize("t", [0, 1, 259, 260, 1000])
def test_noise_slider_says_how_much_is_left(t):
    box = widgets.noise_slider_box(IMAGE, linear_schedule())
    control(box, "t").value = t
    alpha_bar = alpha_bar_of(1e-4, 0.02, 1000)[t]
    said = words(box)
    assert said.startswith(f"t = {t} of 1000.")
    kept, added = numbers(said)[2:4]
    assert kept == pytest.approx(alpha_bar**0.5, rel=5e-3)
    assert added == pytest.approx((1 - alpha_bar) ** 0.5, rel=5e-3)
    assert ("more picture than noise" in said) == (t < 260)  # notebook 01: the two cross at t = 260


# The schedule designer


def designer(**chosen):
    box = widgets.schedule_designer_box(IMAGE)
    for label, value in chosen.items():
        control(box, label).value = value
    return box


@pytest.mark.parametrize(
    ("chosen", "left"),
    [
        ({}, 0.00635),  # the four figures of notebook 02, and its exercise
        ({"T": 50}, 0.776),
        ({"kind": "cosine"}, 4.93e-05),
        ({"beta_1": 0.002, "beta_T": 0.5, "T": 50}, alpha_bar_of(0.002, 0.5, 50)[-1] ** 0.5),
        ({"beta_T": 0.01, "T": 1000}, alpha_bar_of(1e-4, 0.01, 1000)[-1] ** 0.5),
        ({"beta_1": 0.1, "T": 50}, alpha_bar_of(0.1, 0.02, 50)[-1] ** 0.5),  # betas may fall
    ],
)
def test_designer_says_what_is_left_at_T_and_whether_it_is_noise(chosen, left):
    said = words(designer(**chosen))
    [found] = re.findall(r"sqrt\(alpha_bar_T\) = (\S+) of the picture", said)
    assert float(found) == pytest.approx(left, rel=5e-3)
    assert ("it ends in noise" in said) == (left < 0.05)
    assert ("does not end in noise" in said) == (left >= 0.05)


@pytest.mark.parametrize(
    ("chosen", "since"), [({}, "from t = 260 on"), ({"kind": "cosine"}, "from t = 497 on"), ({"T": 50}, "at no t")]
)
def test_designer_says_where_noise_takes_over(chosen, since):
    assert since in words(designer(**chosen))  # 260 and 497 are in notebook 02's figure


def test_cosine_takes_no_betas():
    box = designer()
    betas = control(box, "beta_1"), control(box, "beta_T")
    assert not any(beta.disabled for beta in betas)
    control(box, "kind").value = "cosine"
    assert all(beta.disabled for beta in betas)
    before = picture(box)
    betas[0].value = 0.5
    assert picture(box) == before
    control(box, "kind").value = "linear"
    assert not any(beta.disabled for beta in betas)


def test_designers_curves_are_alpha_bar_and_the_snr(monkeypatch):
    monkeypatch.setattr(widgets, "fixed_noise", torch.zeros_like)
    figure = widgets.designer_figure(IMAGE)
    widgets.fill(figure, cosine_schedule(100), IMAGE)  # of which nothing may be left
    widgets.fill(figure, linear_schedule(20, 0.01, 0.5), IMAGE)
    left, right, below = figure.axes
    expected = alpha_bar_of(0.01, 0.5, 20)
    assert np.abs(left.lines[0].get_xydata() - np.stack([np.arange(21), expected], axis=1)).max() <= 1e-12
    snr = expected[1:] / (1 - expected[1:])
    assert np.abs(right.lines[0].get_xydata() / np.stack([np.arange(1, 21), snr], axis=1) - 1).max() <= 1e-9
    assert right.get_yscale() == "log"
    levels = [int(label.get_text()) for label in below.get_xticklabels()]
    assert levels == [0, 2, 5, 8, 10, 12, 15, 18, 20]
    row = np.asarray(below.images[0].get_array())[..., 0]  # without noise: the image, fading
    for place, t in zip(below.get_xticks(), levels, strict=True):
        middle = round(place - 2.5)
        shown = row[:, middle : middle + 6].astype(int)
        assert np.abs(shown - as_grey(expected[t] ** 0.5 * IMAGE[0, 0].numpy())).max() <= 1


# The UNet explorer

# Worked out by hand for the middle of a UNet with two resolutions and squares of 2 x 2 pixels in conv_in, in
# pixels. A 3x3 convolution adds 1 position to each side, which is 2 pixels at the upper resolution and 4 at the lower;
# an upsampled position 2q is computed from q - 1 and q, and two positions further out from one more to each side.
WIDTHS = {
    **{"conv_in": 6, "down.0": 14, "down.1": 18, "down.2": 34, "middle.0": 50, "middle.1": 50, "middle.2": 66},
    **{"up.0": 82, "up.1": 98, "up.2": 102, "up.3": 110, "up.4": 118, "conv_out": 122},
}


@pytest.mark.parametrize("in_channels", [1, 3])
def test_receptive_fields_have_the_width_of_their_convolutions(in_channels):
    fields = widgets.receptive_fields(UNet(in_channels, base_channels=8), (in_channels, 128, 128), list(WIDTHS))
    for name, width in WIDTHS.items():
        inside = fields[name].nonzero()
        sides = (inside.amax(dim=0) - inside.amin(dim=0) + 1).tolist()
        assert sides == [width, width], name
        assert len(inside) == width**2, name  # a full square


def test_receptive_fields_are_around_the_middle_and_end_at_the_border():
    fields = widgets.receptive_fields(UNet(base_channels=8), (1, 28, 28), ["conv_in", "down.0", "down.2"])
    assert fields["conv_in"].nonzero().amin(dim=0).tolist() == [12, 12]  # position 7 of 14 is pixels 14 and 15
    assert fields["conv_in"].nonzero().amax(dim=0).tolist() == [17, 17]
    assert fields["down.0"].sum() == 14 * 14
    assert fields["down.2"].all()


def test_fields_come_from_a_copy(unet):
    before = {name: weight.clone() for name, weight in unet.state_dict().items()}
    unet.train()
    widgets.receptive_fields(unet, (1, 28, 28), ["conv_out"])
    assert unet.training
    assert all(torch.equal(weight, before[name]) for name, weight in unet.state_dict().items())
    assert isinstance(unet.norm, torch.nn.GroupNorm)
    assert not unet.conv_out._forward_hooks


def test_zeros_of_a_new_network_and_its_labels_do_not_matter(make_unet):
    for unet in (UNet(base_channels=8), make_unet(), make_unet(condition=3)):
        fields = widgets.receptive_fields(unet, (1, 28, 28), ["down.0", "conv_out"])
        assert fields["down.0"].sum() == 14 * 14
        assert fields["conv_out"].all()


def test_explorer_goes_through_all_parts_and_tints_what_they_see(unet):
    box = widgets.unet_explorer_box(widgets.explore(unet, torch.zeros(1, 1, 28, 28)))
    assert list(values(control(box, "part"))) == list(WIDTHS)
    control(box, "part").value = "down.1"
    said = words(box)
    assert said.startswith("down.1, kind Downsample, outputs 8 x 7 x 7, channels x height x width.")
    assert "sees 324 of 784 pixels: rows 4 to 21, columns 4 to 21." in said  # position 3 of 7 is pixels 12 to 15
    assert "GroupNorm and attention" in said
    levels = plt.imread(io.BytesIO(picture(box)), format="png")[::8, ::8, :3]
    coloured = levels.max(axis=2) != levels.min(axis=2)
    assert coloured.sum() == 324
    assert coloured[4:22, 4:22].all()


# The trajectory


def test_scrubber_shows_x_t_on_the_left_and_the_prediction_on_the_right(states):
    box = widgets.trajectory_scrubber_box(states)
    for step, (s, x, x_0_hat) in enumerate(states, start=1):
        control(box, "step").value = step
        sheet = grey(picture(box), zoom=8)
        assert sheet.shape == (4, 14 + 8 + 14)
        for left, image in zip((0, 8, 22, 30), (*x, *x_0_hat), strict=True):
            assert np.abs(sheet[:, left : left + 6] - as_grey(image[0])).max() <= 1
        assert words(box).startswith(f"After step {step} of 5, at level t = {s}.")
        final = states[-1][1].double().numpy()
        distances = [float(number) for number in re.findall(r"(\d+\.\d{3}) away", words(box))]
        expected = [np.abs(images.double().numpy() - final).mean() for images in (x, x_0_hat)]
        assert distances == pytest.approx(expected, abs=6e-4)
    assert "0.000 away" in words(box)  # the last state is the picture


def test_scrubber_takes_a_single_step(states):
    box = widgets.trajectory_scrubber_box(states[-1:])
    assert words(box).startswith("After step 1 of 1, at level t = 0.")


# Steps and eta


def test_pictures_made_without_fresh_noise_are_the_closed_form(made):
    """With a denoiser x_0_hat = x / 2 a step of DDIM with eta = 0 multiplies x by a number."""
    f = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
    alpha_bar = np.concatenate([[1], np.cumprod(np.maximum(f[1:] / f[:-1], 0.001))])
    for num_steps in (5, 10, 20, 50):
        factor, levels = 1.0, np.linspace(1000, 0, num_steps + 1).round().astype(int)
        for t, s in itertools.pairwise(levels):
            noise = (1 - 0.5 * alpha_bar[t] ** 0.5) / (1 - alpha_bar[t]) ** 0.5
            factor *= 0.5 * alpha_bar[s] ** 0.5 + (1 - alpha_bar[s]) ** 0.5 * noise
        assert torch.allclose(made[num_steps, 0.0].double(), factor * X_T.double(), rtol=1e-3, atol=1e-5)


def test_pictures_can_be_made_again_and_differ(made):
    again = widgets.make_all(shrink, X_T, cosine_schedule())
    assert made.keys() == again.keys() == set(itertools.product((5, 10, 20, 50), (0, 0.25, 0.5, 0.75, 1)))
    assert all(torch.equal(made[choice], again[choice]) for choice in made)
    for one, other in itertools.combinations(made, 2):
        assert not torch.equal(made[one], made[other])


def test_moving_asks_the_denoiser_nothing():
    calls = []
    box = widgets.steps_and_eta_box(widgets.make_all(lambda x, t: calls.append(t) or 0.5 * x, X_T, cosine_schedule()))
    assert len(calls) == 5 * (5 + 10 + 20 + 50)
    control(box, "steps").value, control(box, "eta").value = 5, 1.0
    assert len(calls) == 425


def test_steps_and_eta_shows_the_choice_under_the_reference(made):
    box = widgets.steps_and_eta_box(made)
    for num_steps, eta in ((5, 1.0), (20, 0.25), (50, 0.0)):
        control(box, "steps").value, control(box, "eta").value = num_steps, eta
        sheet = grey(picture(box), zoom=8)
        assert sheet.shape == (4 + 2 + 4, 14)
        for row, images in ((0, made[50, 0.0]), (6, made[num_steps, eta])):
            for i in range(2):
                assert np.abs(sheet[row : row + 4, 8 * i : 8 * i + 6] - as_grey(images[i, 0])).max() <= 1
        assert f"{num_steps} steps, eta = {eta:g}." in words(box)
        [distance] = re.findall(r"(\d+\.\d{3}) away", words(box))
        expected = np.abs(made[num_steps, eta].double().numpy() - made[50, 0.0].double().numpy()).mean()
        assert float(distance) == pytest.approx(expected, abs=6e-4)


# Two clouds


@pytest.mark.parametrize(("shift", "stretch"), [(0.0, 1.0), (1.0, 0.5), (4.0, 0.1), (2.0, 3.0)])
def test_two_clouds_say_the_distance_and_the_truth(shift, stretch):
    box = widgets.two_clouds_box()
    control(box, "shift").value, control(box, "stretch").value, control(box, "points").value = shift, stretch, 300
    _, _, number, distance, truth, precision, recall = numbers(words(box))
    assert number == 300
    assert truth == pytest.approx(shift**2 + 2 * (1 - stretch) ** 2, abs=6e-3)
    assert distance == pytest.approx(truth, abs=0.08 + 0.15 * truth)  # 300 points miss the truth by a little
    real, made = (points.numpy() for points in widgets.clouds(shift, stretch, 300))
    for stated, asked, others in ((precision, made, real), (recall, real, made)):
        own = np.sort(np.linalg.norm(others[:, None] - others[None], axis=2), axis=1)[:, 3]
        inside = (np.linalg.norm(asked[:, None] - others[None], axis=2) <= own).any(axis=1)
        assert stated == pytest.approx(inside.mean(), abs=6e-3)


def test_two_clouds_draw_every_point_once():
    figure = plt.figure()
    axis = widgets.new_clouds(figure.add_subplot())
    for choice in ((4.0, 0.1, 30), (1.0, 1.0, 100)):  # the second replaces the first
        real, made = widgets.clouds(*choice)
        widgets.fill_clouds(axis, real, made)
        covered, missed, could_be, crossed = (line.get_xydata() for line in axis.lines)
        assert len(covered) + len(missed) == len(could_be) + len(crossed) == choice[2]
        drawn = np.sort(np.concatenate([could_be, crossed]), axis=0)
        assert np.allclose(drawn, np.sort(made.numpy(), axis=0))
    plt.close(figure)


# The guidance dial


def guided_by_hand(scale, is_on):
    """The 20 steps of the widget, written out: combine, clip, and turn."""
    path, x = cosine_schedule(), X_T
    for t in range(1000, 0, -50):
        weight = scale if is_on(t) else 1
        x_0_hat = ((1 - weight) * shrink(x, t) + weight * told(x, t)).clamp(-1, 1)
        signal, noise = path.signal_rate[t].item(), path.noise_rate[t].item()
        noise_hat = (x - signal * x_0_hat) / noise
        x = path.signal_rate[t - 50].item() * x_0_hat + path.noise_rate[t - 50].item() * noise_hat
    return x


GUIDED = {
    (0, "all levels"): lambda t: True,
    (1, "below 333"): lambda t: True,
    (3, "all levels"): lambda t: True,
    (5, "above 667"): lambda t: t >= 667,
    (10, "200 to 800"): lambda t: 200 <= t <= 800,
    (10, "below 333"): lambda t: t <= 333,
}


@pytest.mark.parametrize(("scale", "where"), GUIDED)
def test_guidance_dial_shows_the_choice_under_scale_1(made_guided, scale, where):
    expected, plain = guided_by_hand(scale, GUIDED[scale, where]), guided_by_hand(1, lambda t: True)
    assert (made_guided[scale, where] - expected).abs().max() < 1e-4
    box = widgets.guidance_dial_box(made_guided)
    control(box, "scale").value = scale
    control(box, "guided at").value = next(value for name, value in control(box, "guided at").options if name == where)
    sheet = grey(picture(box), zoom=8)
    for row, images in ((0, plain), (6, expected)):
        for i in range(2):
            assert np.abs(sheet[row : row + 4, 8 * i : 8 * i + 6] - as_grey(images[i, 0])).max() <= 1
    assert f"scale {scale}, guided at {where}." in words(box)
    [distance] = re.findall(r"(\d+\.\d{3}) away", words(box))
    assert float(distance) == pytest.approx((expected - plain).abs().mean().item(), abs=6e-4)


# What an error in the answer does to the picture


def picture_of_an_answer(path, predicts, t):
    """The same in numpy, with the formulas written out: x_t, the answer, and the picture that it stands for."""
    noise, error = (
        part.double().numpy() for part in torch.randn(2, *IMAGE.shape, generator=torch.Generator().manual_seed(0))
    )
    x_0, u = IMAGE.double().numpy(), t / 1000
    if path == "cosine":
        f = [math.cos((s + 0.008) / 1.008 * math.pi / 2) ** 2 for s in (0, u)]
        a, b = (f[1] / f[0]) ** 0.5, (1 - f[1] / f[0]) ** 0.5
    else:
        a, b = 1 - u, u
    x_t = a * x_0 + b * noise
    if predicts == "noise":
        answer = noise + 0.2 * error
        return x_t, answer, (x_t - b * answer) / a
    if predicts == "x_0":
        answer = x_0 + 0.2 * error
        return x_t, answer, answer
    if predicts == "v":
        answer = a * noise - b * x_0 + 0.2 * error
        return x_t, answer, (a * x_t - b * answer) / (a**2 + b**2)
    answer = noise - x_0 + 0.2 * error
    return x_t, answer, (x_t - b * answer) / (a + b)


@pytest.mark.parametrize("path", ["cosine", "straight"])
@pytest.mark.parametrize("predicts", ["noise", "x_0", "v", "velocity"])
def test_prediction_dial_shows_the_answer_and_the_picture_it_stands_for(path, predicts):
    box = widgets.prediction_dial_box(IMAGE)
    for label, value in (("path", path), ("predicts", predicts), ("t", 900)):
        control(box, label).value = value
    expected = picture_of_an_answer(path, predicts, 900)
    sheet = grey(picture(box), zoom=8)
    for i, image in enumerate(expected):
        assert np.abs(sheet[:4, 8 * i : 8 * i + 6] - as_grey(image[0, 0])).max() <= 1
    off = np.sqrt(np.square(expected[2] - IMAGE.double().numpy()).mean())
    assert numbers(words(box))[-1] == pytest.approx(off, abs=6e-3)
    assert f"on the {path} path" in words(box)
    assert f"answer, {predicts}," in words(box)


# Solver and calls


@pytest.mark.parametrize("solver", ["DDIM", "Heun", "2M"])
@pytest.mark.parametrize("calls", [5, 7, 11, 21])
def test_every_solver_spends_exactly_its_calls(solver, calls):
    asked, (make, steps) = [], widgets.SOLVERS[solver]
    step = make(listening := lambda x, t: asked.append(t) or bend(x, t))
    sample(listening, X_T.shape, cosine_schedule(), step, steps(calls), x_T=X_T)
    assert len(asked) == calls


def test_all_is_solved_once_and_moving_asks_the_denoiser_nothing():
    asked = []
    made = widgets.solve_all(lambda x, t: asked.append(t) or bend(x, t), X_T, cosine_schedule())
    assert len(asked) == 3 * (5 + 7 + 11 + 21) + 100
    box = widgets.solver_and_calls_box(made)
    control(box, "solver").value, control(box, "calls").value = "Heun", 21
    assert len(asked) == 232


def test_more_calls_come_closer_to_the_best(solved):
    for solver in ("DDIM", "Heun", "2M"):
        away = [(solved[solver, calls] - solved["2M", 100]).abs().mean() for calls in (5, 21)]
        assert away[1] < away[0]


def test_solver_and_calls_shows_the_choice_under_the_best(solved):
    box = widgets.solver_and_calls_box(solved)
    for solver, calls, steps in (("DDIM", 5, 5), ("Heun", 11, 6), ("2M", 21, 21)):
        control(box, "solver").value, control(box, "calls").value = solver, calls
        sheet = grey(picture(box), zoom=8)
        for row, images in ((0, solved["2M", 100]), (6, solved[solver, calls])):
            for i in range(2):
                assert np.abs(sheet[row : row + 4, 8 * i : 8 * i + 6] - as_grey(images[i, 0])).max() <= 1
        assert f"{solver}, {calls} calls of the network, which pay for {steps} steps." in words(box)
        [distance] = re.findall(r"(\d+\.\d{3}) away", words(box))
        expected = np.abs(solved[solver, calls].double().numpy() - solved["2M", 100].double().numpy()).mean()
        assert float(distance) == pytest.approx(expected, abs=6e-4)


def test_colours_are_rounded_to_the_nearest_level():
    sheet = torch.tensor([0.0, 0.4 / 255, 0.6 / 255, 254.6 / 255, 1.0]).reshape(1, 5, 1)
    assert widgets.in_colour(sheet).tolist() == [[[level] * 3 for level in (0, 0, 1, 255, 255)]]


def test_where_no_widget_can_be_shown_a_sentence_stands_in():
    box = widgets.live({"t": ipywidgets.IntSlider()}, lambda t: (b"", f"t = {t}"))
    assert repr(box).startswith("(There are controls here")
    assert box.get_view_spec()["model_id"]
