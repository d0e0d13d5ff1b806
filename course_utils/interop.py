"""From diffusers and back (notebook 15). diffusers counts levels from 0: its index is our t - 1.

From there: `denoiser(DiffusersUNet(unet), from_diffusers(scheduler))` is a denoiser like any other. `train` can go on
with such a network, too.

To there: `to_diffusers(unet, schedule, size)` is a pipeline of diffusers. `pipeline.save_pretrained(folder)` writes it
to a folder. Before you read it back, import this module, since diffusers doesn't import what a file merely names:

    import course_utils.interop
    pipeline = DDIMPipeline.from_pretrained(folder)

To publish it, log in with `hf auth login`. Then `hf upload NAME/REPOSITORY FOLDER` puts the folder on the Hugging Face
Hub, and `from_pretrained` takes "NAME/REPOSITORY" in place of the folder.
"""

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, DDIMPipeline, DDIMScheduler, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import nn

from course_utils.annotations import Count, checked
from course_utils.predictions import NOISE, X_0, Prediction, V
from course_utils.schedule import NoiseSchedule
from course_utils.unet import UNet

THEIR_NAMES = {NOISE: "epsilon", X_0: "sample", V: "v_prediction"}


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


class DiffusersUNet(nn.Module):
    """A network of diffusers, such as UNet2DModel, as the course calls one: model(x_t, t, condition=None)."""

    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def forward(self, x, t, condition=None):
        return self.unet(x, t - 1, condition).sample


class CourseUNet(ModelMixin, ConfigMixin):
    """The course's UNet as diffusers calls one: model(sample, timestep, class_labels=None).sample."""

    @register_to_config
    def __init__(self, sample_size, in_channels, network):
        super().__init__()
        self.unet = UNet(**network)

    def forward(self, sample, timestep, class_labels=None):
        t = torch.as_tensor(timestep, device=sample.device).expand(len(sample)) + 1
        return UNet2DOutput(sample=self.unet(sample, t, class_labels))


@checked
def to_diffusers(unet: UNet, schedule, size: Count, predicts: Prediction = NOISE) -> DDIMPipeline:
    """A pipeline of diffusers that draws size x size pictures with this very network, not a copy of it.

    From the same seed, `pipeline(num_inference_steps=50, use_clipped_model_output=True)` draws what `sample` does with
    `ddim_step` and num_steps=50; any number of steps that divides T will do. Without that last option, their step clips
    x_0_hat, but goes on with the noise that belongs to the one before clipping: another picture. For DDPM's walk, use
    DDPMPipeline(pipeline.unet, DDPMScheduler.from_config(pipeline.scheduler.config)).

    These pipelines know nothing of labels, so the network isn't told any. A loop of your own can tell it, with
    `pipeline.unet(x, index, labels).sample`.
    """
    model = CourseUNet(size, unet.config["in_channels"], unet.config)
    model.unet = unet
    betas, predicted = schedule.beta[1:].tolist(), THEIR_NAMES[predicts]
    options = dict(trained_betas=betas, prediction_type=predicted, timestep_spacing="trailing")
    return DDIMPipeline(model, DDIMScheduler(len(betas), **options))
