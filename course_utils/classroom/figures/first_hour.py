"""What notebook 00 shows in the first hour: garments that emerge, a chooser, a scrubber, points, there and back."""

from functools import partial

import ipywidgets
import matplotlib.pyplot as plt
import torch
from IPython.display import display
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from course_utils import sampling, schedule
from course_utils.checkpoints import load_unet
from course_utils.classroom import plotting, widgets
from course_utils.data import CLASSES, DATA
from course_utils.mixture import GaussianMixture, exact_denoiser

BLUE, ORANGE = plotting.COLOURS[:2]
GREY = "#777777"


def shipped():
    """The network that comes with the course, and the schedule that it was trained on."""
    return load_unet(DATA / "weights" / "unet.safetensors"), schedule.cosine_schedule()


def emerge(kinds, num_steps=50):
    """Garments of these kinds, numbers 0 .. 9, on their way from noise: num_steps + 1 tensors (N, 1, 28, 28)."""
    network, cosine = shipped()
    denoise = sampling.denoiser(network, cosine, condition=torch.as_tensor(kinds))
    start = torch.randn(len(kinds), 1, 28, 28)
    yield start
    for _, x, _ in sampling.sample_steps(denoise, start.shape, cosine, num_steps=num_steps, x_T=start):
        yield x


def thirty_garments(description):
    """A film: three garments of each of the ten kinds come out of noise, six in a row."""
    kinds = torch.arange(10).repeat_interleave(3)
    states = list(emerge(kinds))
    frames = [few_colours(plotting.tile(x, columns=6)) for x in [*states[:-1:3], states[-1]]]
    large = [frame.repeat_interleave(3, 0).repeat_interleave(3, 1) for frame in frames]  # a browser would blur them
    plotting.show_film(large, description, seconds=4, hold=2.5, zoom=1)


def few_colours(frame):
    """16 values for each channel keep the file of a film small."""
    return (15 * frame).round() / 15


# A kind to choose


def choose_a_kind(description):
    """Buttons for the ten kinds: six garments of the chosen one emerge under them. Then a still: six bags."""
    *_, bags = emerge([8] * 6)
    display(chooser_box(bags))
    plotting.show_images(bags, description, columns=6, size=0.9)


def chooser_box(first):
    kind = ipywidgets.ToggleButtons(options=list(CLASSES), value="Bag", style=dict(button_width="7em"))
    again = ipywidgets.Button(description="Six more")
    picture = ipywidgets.Image(format="png", layout=dict(max_width="100%", align_self="flex-start"))
    words = ipywidgets.HTML()

    def show(x, text):
        picture.value = widgets.png(widgets.enlarged(plotting.tile(x, columns=6)))
        words.value = f'<div role="status">{text}</div>'

    def draw(change=None):
        for step, x in enumerate(emerge([kind.index] * 6)):
            if step % 2 == 0:
                show(x, f"{kind.value}: step {step} of 50")

    kind.observe(draw, names="value")
    again.on_click(draw)
    show(first, "Bag: step 50 of 50")
    return widgets.Column([kind, again, picture, words])


# From noise to a boot


def scrubber(states, description):
    """A slider along one picture's way out of the noise, and a still of eight moments of it.

    Args:
        states: the pictures (1, C, H, W), the noise first.
        description: of the still.
    """
    last = len(states) - 1
    step = ipywidgets.IntSlider(description="step", min=0, max=last, value=0, **widgets.WIDE)
    display(widgets.live({"step": step}, partial(draw_state, states=states)))
    seen = torch.linspace(0, last, 8).round().int().tolist()
    titles = [f"step {i}" for i in seen]
    plotting.show_images(torch.cat([states[i] for i in seen]), description, titles, columns=4, size=1.2)


def draw_state(step, states):
    return widgets.png(widgets.enlarged(plotting.tile(states[step], columns=1))), f"Step {step} of {len(states) - 1}."


# Points in the plane

CENTRES = ((-1.6, -1.0), (1.6, -1.0), (0.0, 1.7))


def three_islands():
    """Three small round clouds of points, as likely as one another, and the schedule for them."""
    centres = torch.tensor(CENTRES)
    spread = 0.05 * torch.eye(2).repeat(3, 1, 1)
    return GaussianMixture(torch.full((3,), 1 / 3), centres, spread), schedule.cosine_schedule()


def arrows_home(levels, description):
    """Arrows from a grid to the exact denoiser's best guess of where each point came from; a panel for each level."""
    mixture, cosine = three_islands()
    denoise = exact_denoiser(mixture, cosine)
    line = torch.linspace(-2.6, 2.6, 8)
    grid = torch.cartesian_prod(line, line)
    figure, axes = plt.subplots(1, len(levels), figsize=(5.5, 2.2), layout="constrained")
    for axis, t in zip(axes, levels, strict=True):
        away = denoise(grid, t) - grid
        plane(axis, f"t = {t}")
        axis.quiver(*grid.T, *away.T, color=BLUE, angles="xy", scale_units="xy", scale=1, width=0.008, alpha=0.75)
    plotting.show(figure, description)


def plane(axis, title, limit=3.0):
    """The plane with its three islands, in orange."""
    mixture, _ = three_islands()
    points = mixture.sample(300, torch.Generator().manual_seed(1))
    axis.scatter(*points.T, s=4, color=ORANGE, linewidths=0, alpha=0.6)
    axis.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=[-2, 0, 2], yticks=[-2, 0, 2], aspect="equal")
    axis.set_title(title, fontsize=10)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.5)


def points_walk(description, count=120):
    """A film: the same points go home from noise, in one go on the left, in fifty steps on the right."""
    mixture, cosine = three_islands()
    denoise = exact_denoiser(mixture, cosine)
    start = torch.randn(count, 2, generator=torch.Generator().manual_seed(2))
    walk = [start, *(x for _, x, _ in sampling.sample_steps(denoise, start.shape, cosine, num_steps=50, x_T=start))]
    jump, frames = denoise(start, cosine.T), []
    figure, clouds = Figure(figsize=(5.5, 3.0), dpi=120, layout="constrained"), []
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2)
    for axis in axes:
        plane(axis, " ")
        clouds.append(axis.scatter(*start.T, s=9, color=BLUE, linewidths=0, zorder=3))
    figure.canvas.draw()
    figure.set_layout_engine("none")  # it is laid out; again for each frame would take long
    for step in (0, *range(2, 51, 2)):
        clouds[0].set_offsets(jump if step else start)
        clouds[1].set_offsets(walk[step])
        axes[0].set_title(f"one go: {'done' if step else 'before'}", fontsize=10)
        axes[1].set_title(f"fifty steps: {step}", fontsize=10)
        frames.append(few_colours(plotting.drawn(figure)))
    plotting.show_film([frames[0], *frames], description, seconds=4, hold=2.5, zoom=1)


# There and back


def there_and_back(forth, back, levels, description):
    """A picture on its way into noise, in the upper row, and the way from there to another one, in the lower row.

    Args:
        forth, back: (N, C, H, W) within -1 .. 1, at the levels; the last is the noise, the same in both.
        levels: N whole numbers, rising from 0 to T.
    """
    count, right = len(levels), len(levels) - 0.5
    figure = plt.figure(figsize=(6.6, 3.84))
    axis = figure.add_axes((0, 0, 1, 1))
    for y, row, colour, sign in ((1.75, forth, BLUE, 1), (0, back, ORANGE, -1)):
        for i, picture in enumerate(row):
            axis.imshow(plotting.pixels(picture), cmap="gray", vmin=0, vmax=1, extent=(i - 0.38, i + 0.38, y, y + 0.76))
        arrow = dict(arrowstyle="-|>", color=colour, linewidth=1.8)
        for i in range(count - 1):
            ends = (i + 0.39, y + 0.38), (i + 0.61, y + 0.38)
            axis.annotate("", ends[sign > 0], ends[sign < 0], arrowprops=arrow | dict(shrinkA=0, shrinkB=0))
    turn = dict(arrowstyle="-|>", color=GREY, linewidth=1.8, connectionstyle="arc3,rad=-0.5", shrinkA=0, shrinkB=0)
    axis.annotate("", (right - 0.1, 0.38), (right - 0.1, 2.13), arrowprops=turn)
    for i, t in enumerate(levels):
        axis.text(i, 1.25, f"t = {t}", ha="center", va="center", fontsize=9, color=GREY)
    axis.text(-0.38, 2.72, "forward: add a little noise, 1000 times", color=BLUE, fontsize=11)
    axis.text(-0.38, -0.32, "reverse: remove a little noise, many times", color=ORANGE, fontsize=11)
    axis.set(xlim=(-0.5, right + 0.5), ylim=(-0.5, 3.0), aspect="equal")
    axis.axis("off")
    plotting.show(figure, description)
