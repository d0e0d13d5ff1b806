"""From diffusers and back (notebook 15)."""

import torch.nn.functional as F

from course_utils.schedule import NoiseSchedule


def from_diffusers(scheduler) -> NoiseSchedule:
    """The noise schedule of a scheduler of diffusers, such as DDPMScheduler: its index is our level less 1.

    diffusers keeps beta in float32, so alpha_bar agrees with the original's to about 1e-6. A scheduler without betas,
    such as FlowMatchEulerDiscreteScheduler, walks along `straight_path`.
    """
    if not hasattr(scheduler, "betas"):
        raise TypeError(
            f"{type(scheduler).__name__} has no betas. If it belongs to flow matching, use straight_path()."
        )
    return NoiseSchedule(F.pad(scheduler.betas.double(), (1, 0)))  # beta[0] = 0
