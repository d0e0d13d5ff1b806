"""Our network in a pipeline of diffusers, and a network of diffusers in our sampler: the same pictures.

diffusers keeps its tables in float32. So some tests give it ours, in float64, and compare to float64's rounding.
"""

from functools import partial

import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel

from course_utils.interop import CourseUNet, DiffusersUNet, from_diffusers, to_diffusers
from course_utils.predictions import NOISE, X_0, V
from course_utils.sampling import ddim_step, ddpm_step, denoiser, sample
from course_utils.schedule import cosine_schedule, linear_schedule
from course_utils.training import train

SHAPE = 4, 1, 8, 8


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def unet(make_unet):
    """A network that answers about as large as its input, so that few pixels of the picture end up clipped."""
    unet = make_unet(condition=3)
    with torch.no_grad():
        unet.conv_out[0].weight.mul_(0.1)
        unet.shortcut.weight.zero_()
        unet.shortcut.bias.fill_(0.9)
    return unet


def drawn_by(pipeline, **options):
    """The pictures of a pipeline, scaled to -1 .. 1."""
    pipeline.set_progress_bar_config(disable=True)
    pictures = pipeline(SHAPE[0], generator=seeded(), num_inference_steps=10, output_type="pt", **options).images
    return 2 * pictures - 1


def drawn_by_us(model, schedule, step=ddim_step, predicts=NOISE, dtype=torch.float32):
    generator = seeded()
    x_T = torch.randn(SHAPE, generator=generator, dtype=dtype)
    denoise = denoiser(model, schedule, predicts=predicts)
    pictures = sample(denoise, SHAPE, schedule, step, num_steps=10, x_T=x_T, generator=generator).clamp(-1, 1)
    assert (pictures.abs() < 0.99).double().mean() > 0.3  # clipped pixels would agree too easily
    return pictures


def in_float64(pipeline, schedule):
    """The pipeline, its tables replaced by those of the schedule."""
    pipeline.scheduler.betas, pipeline.scheduler.alphas, pipeline.scheduler.alphas_cumprod = (
        table[1:] for table in (schedule.beta, schedule.alpha, schedule.alpha_bar)
    )
    return pipeline


# Ours there


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("predicts", [NOISE, X_0, V], ids=lambda prediction: prediction.name)
def test_a_pipeline_draws_what_sample_does(unet, schedule, predicts, eta):
    pipeline = in_float64(to_diffusers(unet.double(), schedule, 8, predicts), schedule)
    theirs = drawn_by(pipeline, eta=eta, use_clipped_model_output=True)
    ours = drawn_by_us(unet, schedule, partial(ddim_step, eta=eta), predicts, torch.float64)
    assert (ours - theirs).abs().max() < 1e-10


def test_a_pipeline_draws_what_sample_does_to_float32_rounding_as_it_comes(unet, schedule):
    theirs = drawn_by(to_diffusers(unet, schedule, 8), use_clipped_model_output=True)
    assert (drawn_by_us(unet, schedule) - theirs).abs().max() < 2e-5


def test_a_ddpm_pipeline_draws_what_sample_does(unet, schedule):
    pipeline = to_diffusers(unet.double(), schedule, 8)
    other = DDPMPipeline(pipeline.unet, DDPMScheduler.from_config(pipeline.scheduler.config))
    theirs = drawn_by(in_float64(other, schedule))
    ours = drawn_by_us(unet, schedule, ddpm_step, dtype=torch.float64)
    assert (ours - theirs).abs().max() < 1e-8  # their last step adds noise of 1e-10


def test_a_saved_pipeline_draws_the_same_again(unet, tmp_path):
    pipeline = to_diffusers(unet, cosine_schedule(), 8)
    pipeline.save_pretrained(tmp_path / "clothes")
    again = DDIMPipeline.from_pretrained(tmp_path / "clothes")
    assert isinstance(again.unet, CourseUNet)
    assert again.unet.unet.config == unet.config
    assert torch.equal(drawn_by(again), drawn_by(pipeline))


def test_a_loop_of_ones_own_can_tell_the_network_a_label(unet):
    model = to_diffusers(unet, cosine_schedule(), 8).unet
    x, labels = torch.randn(SHAPE, generator=seeded()), torch.tensor([0, 1, 2, 0])
    assert torch.equal(model(x, 4, labels).sample, unet(x, torch.full((4,), 5), labels))
    assert torch.equal(model(x, torch.tensor([4, 0, 9, 1])).sample, unet(x, torch.tensor([5, 1, 10, 2])))


# Theirs here


@pytest.fixture
def their_unet():
    torch.manual_seed(0)
    blocks = dict(down_block_types=["DownBlock2D", "AttnDownBlock2D"], up_block_types=["AttnUpBlock2D", "UpBlock2D"])
    return UNet2DModel(8, 1, 1, **blocks, block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1)


@pytest.mark.parametrize("kind", ["DDIM", "DDPM"])
def test_sample_draws_what_their_pipeline_does(their_unet, kind):
    """What it predicts is called v, since v as small as a random network's makes a picture that isn't clipped."""
    pipeline, scheduler, step, options, tolerance = {
        "DDIM": (DDIMPipeline, DDIMScheduler, ddim_step, dict(use_clipped_model_output=True), 1e-10),
        "DDPM": (DDPMPipeline, DDPMScheduler, ddpm_step, {}, 1e-8),
    }[kind]
    scheduler = scheduler(prediction_type="v_prediction", timestep_spacing="trailing")
    schedule = from_diffusers(scheduler)
    theirs = drawn_by(in_float64(pipeline(their_unet.double(), scheduler), schedule), **options)
    ours = drawn_by_us(DiffusersUNet(their_unet), schedule, step, V, torch.float64)
    assert (ours - theirs).abs().max() < tolerance


def test_a_network_of_diffusers_is_trained_further(their_unet):
    before = [weight.clone() for weight in their_unet.parameters()]
    images = torch.randint(256, (8, 1, 8, 8), generator=seeded(), dtype=torch.uint8)
    train(DiffusersUNet(their_unet), images, linear_schedule(), steps=2, batch_size=4)
    assert all((weight != old).any() for weight, old in zip(their_unet.parameters(), before, strict=True))
