"""Something to move: live controls above a still picture (notebooks 01, 02, 03 and 05 to 10).

Each widget is called in a line, as in `noise_slider(image, schedule, "01.slider")`. It first shows the live controls,
and then a still picture, which is all that GitHub, a printed page or a saved notebook has. Under the controls lies a
function without any widget in it, from their values to a picture, a PNG file, and to words that say what it shows. It
must be fast: a change should show within 0.2 seconds (benchmarks/widget_speed.py measures it).
"""

import copy
import html
import io
import math
from functools import partial
from itertools import pairwise

import ipywidgets
import matplotlib.image
import numpy as np
import torch
from IPython.display import display
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import nn

from course_utils.classroom import plotting
from course_utils.evaluation import distances, frechet_distance, precision_recall
from course_utils.guidance import guided
from course_utils.predictions import NOISE, VELOCITY, X_0, V
from course_utils.sampling import clipped, ddim_step, sample
from course_utils.schedule import at, cosine_schedule, linear_schedule, straight_path
from course_utils.solvers import dpm_solver_2m, heun_step
from course_utils.unet import SelfAttention, shapes_through


class Column(ipywidgets.VBox):
    """Widgets one below the other. Where a page can't show them, it says so, instead of listing their insides."""

    def __repr__(self):
        return "(There are controls here, but this page can't show them.)"


def live(controls, draw):
    """The box that every widget here is: controls above a picture, which is redrawn whenever one of them changes.

    Args:
        controls: {name: an ipywidget with a value}.
        draw: draw(name=value, ...) -> (the bytes of a PNG file, words that say what it shows).
    """
    picture, words = ipywidgets.Image(format="png"), ipywidgets.HTML(layout=dict(flex="1 1 20em", margin="0 1em"))

    def redraw(change=None):
        picture.value, text = draw(**{name: control.value for name, control in controls.items()})
        words.value = f'<div role="status">{html.escape(text)}</div>'

    for control in controls.values():
        control.observe(redraw, names="value")
    redraw()
    beside = ipywidgets.Box([picture, words], layout=dict(flex_flow="row wrap", align_items="center"))
    return Column([*controls.values(), beside])


WIDE = dict(layout=dict(width="32em"), style=dict(description_width="6em"))


def slider(label, values, value):
    """A slider over a few values, equally spaced however far apart they are."""
    options = [(item if isinstance(item, str) else f"{item:g}", item) for item in values]
    return ipywidgets.SelectionSlider(description=label, options=options, value=value, **WIDE)


def png(levels):
    """A picture, (H, W, 3) uint8, as the bytes of a PNG file."""
    file = io.BytesIO()
    matplotlib.image.imsave(file, levels, format="png", pil_kwargs=dict(compress_level=1))  # more would be slower
    return file.getvalue()


def in_colour(sheet):
    """(H, W, 1 or 3) within 0 .. 1 -> (H, W, 3) uint8; NaN, which matplotlib would warn about, ends up as some grey."""
    return (sheet * 255).round().byte().expand(-1, -1, 3).numpy()


def enlarged(sheet):
    """The same, with each pixel 1 to 8 pixels wide, so that the whole is about 600 pixels wide."""
    zoom = min(8, max(1, 600 // sheet.shape[1]))
    return in_colour(sheet.repeat_interleave(zoom, 0).repeat_interleave(zoom, 1))


def fixed_noise(image):
    """The same noise at every call, so that only what you move changes."""
    return torch.randn(image.shape, generator=torch.Generator().manual_seed(0), dtype=image.dtype).to(image.device)


STILLS = 5  # pictures side by side in a still, so that they can be read on a phone


def even_levels(T, number=STILLS):
    """Levels, evenly spaced from 0 to T: (number,) int64."""
    return torch.linspace(0, T, number).round().long()


def parts(x_0, t, noise, schedule):
    """The two parts whose sum is x_t: the picture's and the noise's."""
    return at(schedule.signal_rate, t, x_0) * x_0, at(schedule.noise_rate, t, x_0) * noise


def parts_at(x_0, levels, noise, schedule):
    """`parts` of one picture at several levels: two tensors (number of levels, C, H, W)."""
    many = [len(levels), 1, 1, 1]
    return parts(x_0.repeat(many), levels.to(x_0.device), noise.repeat(many), schedule)


# Notebook 01: the noise slider


def noise_slider(image, schedule, description):
    """A slider over t: the two parts of x_t and their sum, with noise that stays the same.

    Args:
        image: (1, C, H, W) within -1 .. 1, C = 1 or 3.
        schedule: a NoiseSchedule, or any other path.
        description: the static figure in words: three rows, the picture's part, the noise's and x_t, at five levels.
    """
    display(noise_slider_box(image, schedule))
    levels = even_levels(schedule.T)
    of_picture, of_noise = parts_at(image, levels, fixed_noise(image), schedule)
    plotting.show_rows(
        {"picture's part": of_picture, "noise's part": of_noise, "sum: x_t": of_picture + of_noise},
        description,
        titles=[f"t = {t}" for t in levels.tolist()],
    )


def noise_slider_box(image, schedule):
    t = ipywidgets.IntSlider(description="t", min=0, max=schedule.T, value=schedule.T // 4, **WIDE)
    return live({"t": t}, partial(draw_noised, image=image, noise=fixed_noise(image), schedule=schedule))


def draw_noised(t, image, noise, schedule):
    of_picture, of_noise = parts(image, t, noise, schedule)
    kept, added = schedule.signal_rate[t].item(), schedule.noise_rate[t].item()
    more = "more picture than noise" if kept > added else "more noise than picture"
    return png(enlarged(plotting.tile(torch.cat([of_picture, of_noise, of_picture + of_noise]), columns=3))), (
        f"t = {t} of {schedule.T}. Signal rate {kept:.3g}, noise rate {added:.3g}: {more}. "
        "From left to right: the picture's part, the noise's part, and their sum, x_t."
    )


# Notebook 02: the schedule designer

BETAS = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.9)
LENGTHS = (10, 20, 50, 100, 200, 500, 1000)  # T
NOISE_AT_T = 0.05  # the course's rule of thumb: less than this of the picture is left at T


def schedule_designer(image, description):
    """Choose the kind, beta_1, beta_T and T of a schedule, and see alpha_bar, the SNR, and the image at nine levels.

    Args:
        image: (1, C, H, W) within -1 .. 1, C = 1 or 3.
        description: the static figure in words: three rows, linear with T = 1000, linear with T = 50 and the same
            betas, and cosine with T = 50, at five levels from 0 to T.
    """
    display(schedule_designer_box(image))
    schedules = {
        "linear, T = 1000": linear_schedule(),
        "linear, T = 50": linear_schedule(50),
        "cosine, T = 50": cosine_schedule(50),
    }
    plotting.show_rows(
        {name: sum(parts_at(image, even_levels(its.T), fixed_noise(image), its)) for name, its in schedules.items()},
        description,
        titles=["t = 0", "T / 4", "T / 2", "3T / 4", "t = T"],
    )


def schedule_designer_box(image):
    kind = ipywidgets.RadioButtons(description="kind", options=["linear", "cosine"], **WIDE)
    beta_1, beta_T = slider("beta_1", BETAS, 1e-4), slider("beta_T", BETAS, 0.02)

    def only_for_linear(change):
        beta_1.disabled = beta_T.disabled = kind.value == "cosine"

    kind.observe(only_for_linear, names="value")
    controls = {"kind": kind, "beta_1": beta_1, "beta_T": beta_T, "T": slider("T", LENGTHS, 1000)}
    return live(controls, partial(draw_designed, image=image, figure=designer_figure(image)))


def draw_designed(kind, beta_1, beta_T, T, image, figure):
    try:
        schedule = cosine_schedule(T) if kind == "cosine" else linear_schedule(T, beta_1, beta_T)
    except ValueError as error:
        return png(WHITE), f"There is no such schedule. {error}"
    name = f"{kind}, T = {T}" if kind == "cosine" else f"{kind}, beta_1 = {beta_1:g}, beta_T = {beta_T:g}, T = {T}"
    fill(figure, schedule, image)
    figure.canvas.draw()  # savefig would take twice the time
    return png(np.asarray(figure.canvas.buffer_rgba())[..., :3]), f"{name}. {in_words_at_T(schedule)}"


def in_words_at_T(schedule):
    left, noisier = schedule.signal_rate[-1].item(), (schedule.snr < 1).nonzero()
    end = "it ends in noise" if left < NOISE_AT_T else "it does not end in noise, where sampling has to start"
    since = f"from t = {noisier[0].item()} on" if len(noisier) else "at no t"
    return (
        f"sqrt(alpha_bar_T) = {left:.3g} of the picture is left at T: {end} (the rule of thumb: below {NOISE_AT_T}). "
        f"There is more noise than picture {since}."
    )


INCHES, DPI = (7.2, 3.7), 100
WHITE = np.full((round(INCHES[1] * DPI), round(INCHES[0] * DPI), 3), 255, dtype=np.uint8)


def designer_figure(image):
    """Axes for alpha_bar and the SNR over t, and below them for the image at nine levels; made once, then filled.

    Matplotlib spends most of its time on text, so there is little of it.
    """
    figure = Figure(figsize=INCHES, dpi=DPI)  # not pyplot's, which a notebook would show by itself
    FigureCanvasAgg(figure)
    left, right = figure.add_axes((0.07, 0.46, 0.39, 0.46)), figure.add_axes((0.57, 0.46, 0.39, 0.46))
    left.plot([])
    left.set(title="alpha_bar over t", ylim=(-0.05, 1.05), yticks=[0, 0.5, 1])
    right.semilogy([])
    right.axhline(1, color="grey", linestyle="--", linewidth=1)
    right.set(title="SNR over t (dashed: 1)", ylim=(1e-9, 1e6))
    right.set_yticks([1e-8, 1e-4, 1, 1e4], ["1e-8", "1e-4", "1", "1e4"])
    right.minorticks_off()
    below, side = figure.add_axes((0.01, 0.07, 0.98, 0.24)), image.shape[-1] + 2  # with the margin between two
    below.imshow(in_colour(plotting.tile(image.repeat(9, 1, 1, 1), columns=9)))
    below.set(xticks=[side * i + side / 2 - 1.5 for i in range(9)], yticks=[])
    below.spines[:].set_visible(False)
    below.tick_params(length=0)
    return figure


def fill(figure, schedule, image):
    left, right, below = figure.axes
    left.lines[0].set_data(range(schedule.T + 1), schedule.alpha_bar)
    right.lines[0].set_data(range(1, schedule.T + 1), schedule.snr[1:])
    for axis in (left, right):
        axis.set(xlim=(0, schedule.T), xticks=[0, schedule.T // 2, schedule.T])
    levels = even_levels(schedule.T, 9)
    row = sum(parts_at(image, levels, fixed_noise(image), schedule))
    below.images[0].set_data(in_colour(plotting.tile(row, columns=9)))
    below.set_xticklabels(levels.tolist())


# Notebook 03: the UNet, part by part


def unet_explorer(unet, image, description):
    """A slider through the parts of a UNet: what each outputs, and which pixels its middle position sees.

    "Sees" means through convolutions alone. GroupNorm's means and attention reach the whole picture, and are left out.

    Args:
        unet: a UNet of the package, trained or not.
        image: (1, C, H, W) within -1 .. 1, with the C of the UNet, 1 or 3.
        description: the static figure in words: the image with what a part sees tinted, for each part that does not see
            the same as the one before it.
    """
    explored = explore(unet, image)
    display(unet_explorer_box(explored))
    names = list(explored)
    new = [name for before, name in pairwise(names) if not torch.equal(explored[before][0], explored[name][0])]
    shown = names[:1] + new
    plotting.show_images(
        torch.cat([explored[name][0] for name in shown]), description, titles=shown, columns=4, size=1.3
    )


def unet_explorer_box(explored):
    """The box for what `explore` found."""
    return live({"part": slider("part", explored, next(iter(explored)))}, partial(draw_part, explored=explored))


def draw_part(part, explored):
    picture, words = explored[part]
    return png(enlarged(plotting.tile(picture, columns=1))), words


def explore(unet, image):
    """{name of a part: (the image with what the part sees tinted, (1, 3, H, W), and the same in words)}."""
    rows = shapes_through(unet, image, torch.ones(1, device=image.device))
    fields = receptive_fields(unet, image.shape[1:], [name for name, _, _ in rows])
    return {
        name: (tinted(image.cpu(), fields[name]), seen_in_words(name, kind, shape, fields[name]))
        for name, kind, shape in rows
    }


def seen_in_words(name, kind, shape, field):
    (top, left), (bottom, right) = field.nonzero().amin(dim=0).tolist(), field.nonzero().amax(dim=0).tolist()
    return (
        f"{name}, kind {kind}, outputs {shape[0]} x {shape[1]} x {shape[2]}, channels x height x width. "
        f"Its middle position sees {field.sum()} of {field.numel()} pixels: rows {top} to {bottom}, columns {left} to "
        f"{right}. (Through convolutions alone. GroupNorm and attention, which reach the whole picture, are left out.)"
    )


def tinted(image, field):
    orange = 2 * torch.tensor(to_rgb(plotting.COLOURS[4])).reshape(1, 3, 1, 1) - 1
    return torch.where(field, (image + orange) / 2, image)


def receptive_fields(unet, shape, names):
    """Which pixels of an image of this shape, (C, H, W), reach the middle position of each part: {name: (H, W) bool}.

    A pixel reaches it if the gradient of that position with respect to the pixel is not 0.
    """
    plain, outputs = convolutions_only(unet), {}
    for name in names:
        plain.get_submodule(name).register_forward_hook(
            lambda part, inputs, output, name=name: outputs.update({name: output})
        )
    x = torch.zeros(1, *shape, dtype=torch.float64, requires_grad=True)
    plain(x, torch.ones(1))
    fields = {}
    for name, output in outputs.items():
        middle = output[0, :, output.shape[2] // 2, output.shape[3] // 2].sum()
        [gradient] = torch.autograd.grad(middle, x, retain_graph=True)
        fields[name] = (gradient[0] != 0).any(dim=0)
    return fields


def convolutions_only(unet):
    """A copy in which only convolutions look around: each is a plain average, GroupNorm and attention do nothing.

    All its weights are positive, and at x = 0 SiLU has a slope of a half, so no two paths from a pixel cancel.
    """
    plain = copy.deepcopy(unet).to("cpu", torch.float64).eval()
    for weight in plain.parameters():
        nn.init.zeros_(weight)  # which turns off the time, and attention by its last layer
    for module in list(plain.modules()):
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
        for name, part in module.named_children():
            if isinstance(part, nn.GroupNorm):
                setattr(module, name, nn.Identity())
    for module in plain.modules():
        if isinstance(module, SelfAttention):
            nn.init.zeros_(module.out.weight)
    return plain


# Notebook 05: a scrubber along a trajectory


def trajectory_scrubber(states, description):
    """A slider along the steps of a sampler: the images x_t on the left, the predictions x_0_hat on the right.

    Args:
        states: what `sample_steps` yields, (s, x_s, x_0_hat) after each step, as a list or straight from it; the images
            are (B, C, H, W) within -1 .. 1, C = 1 or 3, preferably a few.
        description: the static figure in words: two rows, x_t and x_0_hat of the first image, at five steps.
    """
    states = list(states)
    display(trajectory_scrubber_box(states))
    seen = [states[i] for i in even_levels(len(states) - 1, min(STILLS, len(states))).tolist()]
    plotting.show_rows(
        {"x_t": torch.cat([x[:1] for _, x, _ in seen]), "x_0_hat": torch.cat([x_0_hat[:1] for _, _, x_0_hat in seen])},
        description,
        titles=[f"t = {s}" for s, _, _ in seen],
    )


def trajectory_scrubber_box(states):
    middle = (len(states) + 1) // 2
    step = ipywidgets.IntSlider(description="step", min=1, max=len(states), value=middle, **WIDE)
    return live({"step": step}, partial(draw_state, states=states))


def draw_state(step, states):
    s, x, x_0_hat = states[step - 1]
    left, right = (plotting.tile(images, columns=math.ceil(len(images) ** 0.5)) for images in (x, x_0_hat))
    between, (_, final, _) = torch.ones(left.shape[0], 8, left.shape[2]), states[-1]
    return png(enlarged(torch.cat([left, between, right], dim=1))), (
        f"After step {step} of {len(states)}, at level t = {s}. Left: x_t, {apart(x, final)} from the finished "
        f"picture. Right: x_0_hat, the prediction that led there, {apart(x_0_hat, final)} from it. "
        "(Averaged over the pixels; black to white is 2.)"
    )


def apart(a, b):
    """How far apart two batches of images are, in words: the mean absolute difference."""
    return f"{(a - b).abs().mean().item():.3f} away"


# Notebook 06: the number of steps and eta

NUM_STEPS = (5, 10, 20, 50)
ETAS = (0.0, 0.25, 0.5, 0.75, 1.0)


def steps_and_eta(denoise, x_T, schedule, description):
    """Sliders for the number of steps and for eta: the pictures that DDIM makes from the one noise x_T.

    All of them are made first, with 425 calls of `denoise`, so that every choice shows at once. Fresh noise comes from
    a generator with seed 0, so `sample` can make the same pictures again.

    Args:
        denoise: denoise(x_t, t) -> x_0_hat, t an int.
        x_T: (B, C, H, W) noise, C = 1 or 3, preferably a few.
        schedule: a NoiseSchedule with at least 50 steps.
        description: the static figure in words: the first picture, in a column for each number of steps and a row
            for each eta.
    """
    made = make_all(denoise, x_T, schedule)
    display(steps_and_eta_box(made))
    plotting.show_rows(
        {f"eta = {eta:g}": torch.cat([made[num_steps, eta][:1] for num_steps in NUM_STEPS]) for eta in ETAS},
        description,
        titles=[f"{num_steps} steps" for num_steps in NUM_STEPS],
    )


def make_all(denoise, x_T, schedule):
    """{(number of steps, eta): the pictures, like x_T}."""

    def make(num_steps, eta):
        step, generator = partial(ddim_step, eta=eta), torch.Generator().manual_seed(0)
        return sample(denoise, x_T.shape, schedule, step, num_steps, x_T=x_T, generator=generator)

    return {(num_steps, eta): make(num_steps, eta) for num_steps in NUM_STEPS for eta in ETAS}


def steps_and_eta_box(made):
    """The box for what `make_all` made."""
    controls = {"num_steps": slider("steps", NUM_STEPS, 20), "eta": slider("eta", ETAS, 0.5)}
    return live(controls, partial(draw_made, made=made))


def draw_made(num_steps, eta, made):
    chosen, reference = made[num_steps, eta], made[NUM_STEPS[-1], ETAS[0]]
    return png(enlarged(plotting.tile(torch.cat([reference, chosen]), columns=len(chosen)))), (
        f"Lower row: {num_steps} steps, eta = {eta:g}. Upper row, to compare: {NUM_STEPS[-1]} steps, eta = 0, from the "
        f"same noise. The two are {apart(chosen, reference)} from each other on average over the pixels; black to "
        "white is 2."
    )


# Notebook 07: two clouds, and the numbers beside them

SHIFTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
STRETCHES = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
NUMBERS = (10, 30, 100, 300)


def two_clouds(description):
    """Sliders for where a cloud lies, how wide it is, and how many points it has; the Frechet distance, precision and
    recall against a cloud of as many real points.

    Args:
        description: the static figure in words: six choices of shift and stretch, each with its three numbers.
    """
    display(two_clouds_box())
    figure = Figure(figsize=(5.4, 5.0), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    choices = ((0.0, 1.0), (1.0, 1.0), (4.0, 1.0), (0.0, 0.25), (1.0, 0.25), (0.0, 3.0))
    for axis, (shift, stretch) in zip(figure.subplots(2, 3).flat, choices, strict=True):
        real, made = clouds(shift, stretch, 100)
        fill_clouds(new_clouds(axis), real, made)
        precision, recall = precision_recall(real, made)
        axis.set_title(f"shift {shift:g}, stretch {stretch:g}", fontsize=9)
        numbers = f"distance {frechet_distance(real, made):.2f}\nprecision {precision:.2f}\nrecall {recall:.2f}"
        axis.set_xlabel(numbers, fontsize=9)
    plotting.show(figure, description)


def two_clouds_box():
    figure = Figure(figsize=(4.2, 4.2), dpi=DPI)  # not pyplot's, which a notebook would show by itself
    FigureCanvasAgg(figure)
    new_clouds(figure.add_axes((0.02, 0.02, 0.96, 0.96)))
    controls = {
        "shift": slider("shift", SHIFTS, 1.0),
        "stretch": slider("stretch", STRETCHES, 0.5),
        "number": slider("points", NUMBERS, 100),
    }
    return live(controls, partial(draw_clouds, figure=figure))


def clouds(shift, stretch, number):
    """Real points from N(0, I), and others from the same, stretched and then moved to the right: (number, 2) each."""
    generator = torch.Generator().manual_seed(4)
    real, made = torch.randn(2, number, 2, generator=generator, dtype=torch.float64)
    return real, stretch * made + torch.tensor([shift, 0.0])


def new_clouds(axis):
    """Axes with four empty groups of points, in the order of `fill_clouds`."""
    for style in (
        dict(marker="o", color="#888888", linestyle=""),
        dict(marker="o", color="#888888", linestyle="", markerfacecolor="none"),
        dict(marker="D", color=plotting.COLOURS[0], linestyle="", alpha=0.7),
        dict(marker="x", color=plotting.COLOURS[1], linestyle=""),
    ):
        axis.plot([], [], markersize=4, **style)
    axis.set(xlim=(-4, 6), ylim=(-5, 5), aspect="equal", xticks=(), yticks=())
    return axis


def fill_clouds(axis, real, made, k=3):
    """Real points that the made ones cover, and those that they don't; made points that could be real, and the rest."""
    covered, could_be = (
        (distances(points, others) <= distances(others, others).kthvalue(k + 1, dim=1).values).any(dim=1)
        for points, others in ((real, made), (made, real))
    )
    for line, points in zip(axis.lines, (real[covered], real[~covered], made[could_be], made[~could_be]), strict=True):
        line.set_data(*points.T)


def draw_clouds(shift, stretch, number, figure):
    real, made = clouds(shift, stretch, number)
    fill_clouds(figure.axes[0], real, made)
    figure.canvas.draw()  # savefig would take twice the time
    precision, recall = precision_recall(real, made)
    return png(np.asarray(figure.canvas.buffer_rgba())[..., :3]), (
        f"shift {shift:g}, stretch {stretch:g}, {number} points in each cloud. Frechet distance "
        f"{frechet_distance(real, made):.2f} (the truth: {shift**2 + 2 * (1 - stretch) ** 2:.2f}), precision "
        f"{precision:.2f}, recall {recall:.2f}. Grey: real, hollow where no made point comes near. Blue: made; orange "
        "crosses are too far from every real point."
    )


# Notebook 08: the guidance scale, and where guidance is on

SCALES = (0, 1, 2, 3, 5, 10)
GUIDED_AT = {"all levels": None, "above 667": (0.667, 1.0), "200 to 800": (0.2, 0.8), "below 333": (0.0, 0.333)}
GUIDED_STEPS = 20


def guidance_dial(conditional, unconditional, x_T, path, description):
    """The guidance scale, and the levels at which it is on: the pictures that DDIM makes from the one noise x_T.

    All of them are made first, so that every choice shows at once. (The levels are named for T = 1000.)

    Args:
        conditional, unconditional: denoise(x_t, t) -> x_0_hat, t an int, neither of which clips.
        x_T: (B, C, H, W) noise, C = 1 or 3, preferably a few.
        path: any path with at least 20 steps.
        description: the static figure in words: the first picture, in a column for each scale and a row for each
            choice of levels.
    """
    made = make_guided(conditional, unconditional, x_T, path)
    display(guidance_dial_box(made))
    plotting.show_rows(
        {where: torch.cat([made[scale, where][:1] for scale in SCALES]) for where in GUIDED_AT},
        description,
        titles=[f"scale {scale}" for scale in SCALES],
    )


def make_guided(conditional, unconditional, x_T, path):
    """{(scale, where): the pictures, like x_T}. At scale 1, it makes no difference where."""

    def make(scale, where):
        share = GUIDED_AT[where]
        levels = None if share is None else range(round(share[0] * path.T), round(share[1] * path.T) + 1)
        denoise = clipped(guided(conditional, unconditional, scale, levels))
        return sample(denoise, x_T.shape, path, ddim_step, GUIDED_STEPS, x_T=x_T)

    plain = sample(clipped(conditional), x_T.shape, path, ddim_step, GUIDED_STEPS, x_T=x_T)
    return {(scale, where): plain if scale == 1 else make(scale, where) for scale in SCALES for where in GUIDED_AT}


def guidance_dial_box(made):
    """The box for what `make_guided` made."""
    controls = {"scale": slider("scale", SCALES, 3), "where": slider("guided at", GUIDED_AT, "all levels")}
    return live(controls, partial(draw_guided, made=made))


def draw_guided(scale, where, made):
    chosen, plain = made[scale, where], made[1, "all levels"]
    return png(enlarged(plotting.tile(torch.cat([plain, chosen]), columns=len(chosen)))), (
        f"Lower row: scale {scale}, guided at {where}. Upper row, to compare: scale 1, from the same noise. They are "
        f"{apart(chosen, plain)} from each other on average over the pixels; black to white is 2."
    )


# Notebook 09: what an error in the answer does to the picture

PREDICTIONS = {prediction.name: prediction for prediction in (NOISE, X_0, V, VELOCITY)}
PATHS = {"cosine": cosine_schedule(), "straight": straight_path()}
ASKED_AT = (20, 100, 200, 300, 400, 500, 600, 700, 800, 900, 980)
OFF = 0.2  # by how much an answer is off


def prediction_dial(image, description):
    """The path, what is predicted, and the level: x_t, an answer that is off by 0.2, and the picture it stands for.

    Args:
        image: (1, C, H, W) within -1 .. 1, C = 1 or 3.
        description: the static figure in words: the pictures that the answers stand for on the cosine path, in a row
            for each prediction and a column for each of five levels.
    """
    display(prediction_dial_box(image))
    levels = (100, 300, 500, 700, 900)
    plotting.show_rows(
        {name: torch.cat([answered("cosine", name, t, image)[2] for t in levels]) for name in PREDICTIONS},
        description,
        titles=[f"t = {t}" for t in levels],
        size=0.9,
    )


def prediction_dial_box(image):
    controls = {
        "path": slider("path", PATHS, "cosine"),
        "predicts": slider("predicts", PREDICTIONS, "noise"),
        "t": slider("t", ASKED_AT, 700),
    }
    return live(controls, partial(draw_answered, image=image))


def answered(path, predicts, t, image):
    """x_t, the answer, and the picture it stands for. The noise and the error are the same at every call."""
    noise, error = torch.randn(2, *image.shape, generator=torch.Generator().manual_seed(0), dtype=image.dtype)
    path, predicts = PATHS[path], PREDICTIONS[predicts]
    x_t = at(path.signal_rate, t, image) * image + at(path.noise_rate, t, image) * noise
    answer = predicts.target(image, noise, t, path) + OFF * error
    return x_t, answer, predicts.x_0(x_t, t, answer, path)


def draw_answered(path, predicts, t, image):
    shown = answered(path, predicts, t, image)
    signal, noise = PATHS[path].signal_rate[t], PATHS[path].noise_rate[t]
    off = (shown[2] - image).square().mean().sqrt()
    return png(enlarged(plotting.tile(torch.cat(shown), columns=3))), (
        f"Level {t} on the {path} path, x_t = {signal:.2f} x_0 + {noise:.2f} noise. Left x_t, in the middle the "
        f"answer, {predicts}, which is off by about {OFF:g}. On the right, the picture that this answer stands for: it "
        f"is off by {off:.2f}."
    )


# Notebook 10: the solver and the number of calls

CALLS = (5, 7, 11, 21)  # odd, so that Heun's method, with 2 N - 1 calls for N steps, can spend them to the last one
BEST = 100  # calls of DPM-Solver++(2M), to compare with
SOLVERS = {  # the step, made for one walk with this denoiser, and the steps that a number of calls pays for
    "DDIM": (lambda denoise: ddim_step, lambda calls: calls),
    "Heun": (heun_step, lambda calls: (calls + 1) // 2),
    "2M": (lambda denoise: dpm_solver_2m(), lambda calls: calls),
}


def solver_and_calls(denoise, x_T, path, description):
    """Sliders for the solver and for the number of calls: the pictures that it makes from the one noise x_T.

    All of them are made first, with 232 calls of `denoise`, so that every choice shows at once. Levels are evenly
    spaced.

    Args:
        denoise: denoise(x_t, t) -> x_0_hat, t an int.
        x_T: (B, C, H, W) noise, C = 1 or 3, preferably a few.
        path: a GaussianPath with at least 100 steps.
        description: the static figure in words: the first picture, in a column for each number of calls and a row for
            each solver.
    """
    made = solve_all(denoise, x_T, path)
    display(solver_and_calls_box(made))
    plotting.show_rows(
        {name: torch.cat([made[name, calls][:1] for calls in CALLS]) for name in SOLVERS},
        description,
        titles=[f"{calls} calls" for calls in CALLS],
    )


def solve_all(denoise, x_T, path):
    """{(solver, number of calls): the pictures, like x_T}, among them the best, ("2M", 100)."""
    wanted = [(name, calls) for name in SOLVERS for calls in CALLS] + [("2M", BEST)]

    def make(name, calls):
        step, steps = SOLVERS[name]
        return sample(denoise, x_T.shape, path, step(denoise), steps(calls), x_T=x_T)

    return {(name, calls): make(name, calls) for name, calls in wanted}


def solver_and_calls_box(made):
    """The box for what `solve_all` made."""
    controls = {"solver": slider("solver", SOLVERS, "DDIM"), "calls": slider("calls", CALLS, 7)}
    return live(controls, partial(draw_solved, made=made))


def draw_solved(solver, calls, made):
    chosen, best = made[solver, calls], made["2M", BEST]
    steps = SOLVERS[solver][1](calls)
    return png(enlarged(plotting.tile(torch.cat([best, chosen]), columns=len(chosen)))), (
        f"Lower row: {solver}, {calls} calls of the network, which pay for {steps} steps. Upper row, to compare: "
        f"{BEST} calls of 2M, from the same noise. The two are {apart(chosen, best)} from each other on average over "
        "the pixels; black to white is 2."
    )
