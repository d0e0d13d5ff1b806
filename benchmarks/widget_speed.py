"""How long each widget takes from a change of a control to the new picture, in milliseconds.

python benchmarks/widget_speed.py

Every control of every widget is moved through its values, a few hundred changes in all. What comes after, the way of a
picture of some 10 kB from the kernel to the browser, is not in it. Writes benchmarks/widget_speed.json.
"""

import json
import statistics
import time
from pathlib import Path

import ipywidgets
import torch

from course_utils.checkpoints import load_unet
from course_utils.classroom import widgets
from course_utils.data import DATA, fashion_mnist, scale
from course_utils.sampling import ddim_step, denoiser, sample_steps
from course_utils.schedule import cosine_schedule, linear_schedule
from machine import machine

GOAL_MS = 200
MOVES = 60  # at most, for each control


def boxes():
    """{name: the box of a widget, as the notebook builds it}, and how long each took to build."""
    network, labels = load_unet(DATA / "weights" / "unet.safetensors"), torch.arange(4)
    image, schedule, x_T = scale(fashion_mnist()[0][:1]), cosine_schedule(), torch.randn(4, 1, 28, 28)
    denoise = denoiser(network, schedule, labels)
    build = {
        "noise_slider": lambda: widgets.noise_slider_box(image, linear_schedule()),
        "schedule_designer": lambda: widgets.schedule_designer_box(image),
        "unet_explorer": lambda: widgets.unet_explorer_box(widgets.explore(network, image)),
        "trajectory_scrubber": lambda: widgets.trajectory_scrubber_box(
            list(sample_steps(denoise, x_T.shape, schedule, ddim_step, 50, x_T=x_T))
        ),
        "steps_and_eta": lambda: widgets.steps_and_eta_box(widgets.make_all(denoise, x_T, schedule)),
        "two_clouds": widgets.two_clouds_box,
        "prediction_dial": lambda: widgets.prediction_dial_box(image),
        "solver_and_calls": lambda: widgets.solver_and_calls_box(widgets.solve_all(denoise, x_T, schedule)),
    }
    for name, make in build.items():
        start = time.perf_counter()
        yield name, make(), time.perf_counter() - start


def values_of(control):
    if isinstance(control, ipywidgets.IntSlider):
        return range(control.min, control.max + 1, max(1, (control.max - control.min) // MOVES))
    return [value for _, value in control.options] if isinstance(control.options[0], tuple) else control.options


def milliseconds(box):
    """Of each change, while every control in turn goes through its values and back to where it was."""
    found = []
    for control in box.children[:-1]:
        before = control.value
        for value in [*values_of(control), before]:
            if value != control.value:
                start = time.perf_counter()
                control.value = value
                found.append(1000 * (time.perf_counter() - start))
    return found


def main():
    rows = []
    for name, box, seconds in boxes():
        found = milliseconds(box)
        rows.append(
            dict(
                name=name,
                changes=len(found),
                median_ms=statistics.median(found),
                longest_ms=max(found),
                start_s=seconds,
            )
        )
        print(
            f"{name:20} {len(found):3} changes: median {rows[-1]['median_ms']:5.1f} ms, longest {max(found):5.1f} ms "
            f"(goal {GOAL_MS}); {seconds:.1f} s to build"
        )
    out = Path(__file__).with_suffix(".json")
    out.write_text(json.dumps({"machine": machine(), "goal_ms": GOAL_MS, "rows": rows}, indent=1) + "\n")
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
