"""Exercises on the loss (notebook 04)."""

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.classroom.exercises.cases import SHAPE, randn, steep_schedule
from course_utils.classroom.exercises.record import Exercise, Mistake, call, case
from course_utils.forward import add_noise, forward_step, predict_x_0
from course_utils.schedule import at, cosine_schedule, linear_schedule
from course_utils.training import diffusion_loss

# The loss


class Share(nn.Module):
    """A network of three weights, for images and points: a share of x that depends on the time, and a constant."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.4, 0.3, -0.2], dtype=dtype))

    def forward(self, x, t):
        self.told = f"{t.ndim} dimension{'s' * (t.ndim != 1)}"
        share = self.weight[0] + self.weight[1] * torch.cos(t / 5).to(x.dtype)
        return share.reshape(-1, *[1] * (x.ndim - 1)) * x + self.weight[2]


def half(x, t):
    """A model that is no network, but a plain function."""
    return x / 2


def loss_case(model, shape, t, path, dtype=torch.float32):
    x_0, noise = (randn(*shape, seed=seed, dtype=dtype) for seed in (1, 2))
    return case(model, x_0.clamp(-1, 1), torch.tensor(t), noise, path)


def loss_cases():
    steep, double = steep_schedule(), torch.float64
    return [
        loss_case(Share(), SHAPE, [1, 12, 5, 7], steep),
        loss_case(Share(), (3, 2), [2, 12, 1], steep),
        loss_case(Share(), (2, 1, 3, 4), [1000, 400], linear_schedule()),
        loss_case(half, (5, 2), [3, 1, 12, 8, 5], steep),
        loss_case(Share(double), (2, 1, 3, 4), [3, 8], steep, double),
    ]


def loss_and_gradient(attempt, case):
    """The loss, and its gradient with respect to the weights of a network: both have to be right."""
    loss, model = call(attempt, case), case.args[0]
    if loss is None or loss is Ellipsis:
        return None
    gradient = None
    if isinstance(model, nn.Module) and isinstance(loss, torch.Tensor) and loss.requires_grad:
        [gradient] = torch.autograd.grad(loss.sum(), model.weight, allow_unused=True)
    told = {"the t that the model is told has": getattr(model, "told", "")}
    return {"loss": loss.detach() if isinstance(loss, torch.Tensor) else loss, "gradient": gradient} | told


def loss_with(
    noising=add_noise,
    told=lambda t, T: t,
    target=lambda noise, x_0: noise,
    cost=lambda error: error.square().mean(),
):
    """A loss in which something else is noised, told, aimed at, or added up."""

    def attempt(model, x_0, t, noise, path):
        x_t = noising(x_0, t, noise, path)
        return cost(model(x_t, told(t, path.T)) - target(noise, x_0))

    return attempt


def loss_of_the_picture(model, x_0, t, noise, path):
    x_t = add_noise(x_0, t, noise, path)
    return F.mse_loss(predict_x_0(x_t, t, model(x_t, t), path), x_0)


def loss_with_noise_of_its_own(model, x_0, t, noise, path):
    return diffusion_loss(model, x_0, t, torch.randn_like(x_0), path)


NUMBER_ONLY = (
    "The loss comes without a gradient: it is a bare number, so `backward` would fail, or teach the network nothing. "
    "Return the tensor, without `.item()`, `.detach()` or `torch.no_grad()`. The training step detaches it later."
)
DIFFUSION_LOSS = Exercise(
    name="training.diffusion_loss",
    notebook="04",
    finished=diffusion_loss,
    cases=loss_cases,
    observe=loss_and_gradient,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            loss_with(target=lambda noise, x_0: x_0),
            "The network's answer is compared with `x_0`, the clean picture. But the network's task is the *noise* "
            "(notebook 03), and the sampler will treat its answer as noise. Compare it with `noise`.",
        ),
        Mistake(
            loss_of_the_picture,
            "This is the squared error of the predicted *picture*. It is `(1 - alpha_bar) / alpha_bar` times that of "
            "the noise, so nearly everything depends on the largest t. Compare the noise itself.",
        ),
        Mistake(
            loss_with(noising=lambda x_0, t, noise, path: x_0),
            "The network gets the clean picture, in which there is no noise to see, so it could only learn to guess. "
            "Make `x_t` with `add_noise` first.",
        ),
        Mistake(
            loss_with(noising=lambda x_0, t, noise, path: add_noise(x_0, t, torch.randn_like(x_0), path)),
            "`x_t` is made with fresh noise, but the answer is compared with the argument `noise`, which the network "
            "has never seen. Use the same noise for both.",
        ),
        Mistake(
            loss_with_noise_of_its_own,
            "The function draws noise of its own and never uses the argument `noise`. Drawing it is the training "
            "step's job. A loss that is given everything can be tried out and compared.",
        ),
        Mistake(
            loss_with(noising=forward_step),
            "`x_t` is made with `forward_step`, a single noising step. From the clean picture to level t is one jump: "
            "`add_noise`.",
        ),
        Mistake(
            loss_with(noising=lambda x_0, t, noise, path: x_0 + noise),
            "The noise comes in at full strength, whatever the level, and the picture never fades. How much of each "
            "there is depends on t: `add_noise` mixes them.",
        ),
        Mistake(
            loss_with(cost=lambda error: error.square()),
            "There is a squared error for every pixel, but `backward` needs a single number to start from. Take the "
            "mean of them all: `.mean()`.",
        ),
        Mistake(
            loss_with(cost=lambda error: error.square().sum()),
            "The squared errors are added up, but we want their *mean*. The sum grows with the batch and with the "
            "size of the pictures, and so does the size of the optimizer's step.",
        ),
        Mistake(
            loss_with(cost=lambda error: error.square().flatten(1).sum(dim=1).mean()),
            "The errors are added up within each picture, and only the batch is averaged, so the loss grows with the "
            "number of pixels. Take the mean over everything: then a guess of no noise at all costs 1.",
        ),
        Mistake(
            loss_with(cost=lambda error: error.abs().mean()),
            "This is the mean *absolute* error. The bound led to the squared one. (The two have different aims: "
            "squares aim at the mean of what is possible, absolute values at the median.)",
        ),
        Mistake(
            loss_with(cost=lambda error: error.square().mean().sqrt()),
            "There is a square root around the mean squared error. Its gradient is divided by the loss, so every "
            "batch gets a different weight, and the best answer is no longer the mean.",
        ),
        Mistake(
            loss_with(told=lambda t, T: t / T),
            "The network is given `t / T`. It expects t itself, from 1 to T. Its embedding can hardly tell numbers "
            "between 0 and 1 apart, and the sampler will give it t.",
        ),
        Mistake(
            loss_with(told=lambda t, T: t - 1),
            "The network is given `t - 1`. Programs that count from 0 do that, but our levels run from 1 to T "
            "everywhere, in the sampler too. Here it would learn every level under the wrong name.",
        ),
        Mistake(loss_with(cost=lambda error: error.square().mean().item()), NUMBER_ONLY),
    ),
    hints=(
        "Three things happen: you noise the picture, ask the network, and compare its answer. For the first there is "
        "a function already.",
        "`x_t = add_noise(x_0, t, noise, path)`. To ask the network, call `model(x_t, t)`. What was its task?",
        "`F.mse_loss(model(x_t, t), noise)` is the mean squared error over all values, with its gradient.",
    ),
)


# A loss with a weight for each level


def weighted_loss(model, x_0, t, noise, schedule):
    x_t = add_noise(x_0, t, noise, schedule)
    weight = at(schedule.snr.clamp(max=5) / schedule.snr, t, x_0)
    return (weight * (model(x_t, t) - noise).square()).mean()


def weighted_cases():
    """As wide as there are images, so that weights on a wrong axis fit in silence."""
    schedule, double = cosine_schedule(20), torch.float64
    return [
        loss_case(Share(), (4, 3, 6, 4), [1, 20, 3, 11], schedule),
        loss_case(Share(), (2, 2), [2, 9], schedule),
        loss_case(half, (3, 1, 2, 3), [20, 4, 1], schedule),
        loss_case(Share(double), (3, 1, 2, 3), [20, 4, 1], schedule, double),
    ]


def weighted_with(weight_of, cost=lambda weight, error: (weight * error.square()).mean()):
    """A loss with other weights, or one in which they count in another way. weight_of(snr, t) -> (B,)."""

    def attempt(model, x_0, t, noise, schedule):
        weight = weight_of(schedule.snr, t).to(x_0.dtype).reshape(-1, *[1] * (x_0.ndim - 1))
        return cost(weight, model(add_noise(x_0, t, noise, schedule), t) - noise)

    return attempt


def min_snr(snr, t):
    return snr[t].clamp(max=5) / snr[t]


WEIGHTED_LOSS = Exercise(
    name="training.weighted_loss",
    notebook="04",
    finished=weighted_loss,
    cases=weighted_cases,
    observe=loss_and_gradient,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            diffusion_loss,
            "All levels have weight 1: this is the simple loss. Multiply each image's squared errors by the weight of "
            "its level before taking the mean.",
        ),
        Mistake(
            weighted_with(lambda snr, t: snr[t].clamp(max=5)),
            "The weights are `min(SNR, 5)`, but the division by SNR is missing. They belong to a network that "
            "predicts `x_0`. Ours predicts the noise, whose error is SNR times as large, so divide by SNR.",
        ),
        Mistake(
            weighted_with(lambda snr, t: snr[t].clamp(min=5) / snr[t]),
            "This takes the larger of SNR and 5, which is what `clamp(min=5)` does. Then the weights are above 1 "
            "where there is a lot of noise, and explode near T. Take the smaller one: `clamp(max=5)`.",
        ),
        Mistake(
            weighted_with(lambda snr, t: min(snr[t], 5) / snr[t]),
            "Python's `min` chooses between two numbers, and here one side is a tensor with many. `clamp(max=5)` does "
            "it for each of them.",
        ),
        Mistake(
            weighted_with(min_snr, lambda weight, error: (weight.flatten() * error.square()).mean()),
            "The weights lie along the last axis of the picture. A tensor of shape `(B,)` is lined up with the width, "
            "and that fits without a word when the width is B, as here. `at` shapes them `(B, 1, ...)`, one for each "
            "image.",
        ),
        Mistake(
            weighted_with(min_snr, lambda weight, error: weight.mean() * error.square().mean()),
            "Errors and weights are averaged separately and then multiplied. So every image counts the same, and only "
            "the size of the loss changes. Multiply each image's errors by its own weight before the mean.",
        ),
        Mistake(
            weighted_with(min_snr, lambda weight, error: (weight * error).square().mean()),
            "The weight is squared together with the error. It is a factor of the *squared* error, so square first.",
        ),
        Mistake(
            weighted_with(min_snr, lambda weight, error: (weight * error.square()).mean() / weight.mean()),
            "The loss is divided by the mean of the weights. Then a level counts more in a batch of easy levels than "
            "in another, and the average over batches is no longer what we wanted. Take the plain mean.",
        ),
        Mistake(
            weighted_with(lambda snr, t: min_snr(snr, t - 1)),
            "These are the weights of level `t - 1`. The tables have an entry 0 for the clean picture, so the SNR of "
            "level t is at index t.",
        ),
        Mistake(
            weighted_with(min_snr, lambda weight, error: (weight * error.square()).sum()),
            "The weighted errors are added up, but we want their mean. The sum grows with the batch and with the size "
            "of the pictures.",
        ),
        Mistake(weighted_with(min_snr, lambda weight, error: (weight * error.square()).mean().item()), NUMBER_ONLY),
    ),
    hints=(
        "It is `diffusion_loss` with one more factor, inside the mean. Make a table of the factors of all levels "
        "first; `schedule.snr` has `T + 1` entries.",
        "The table is `schedule.snr.clamp(max=5) / schedule.snr`. `at(table, t, x_0)` picks each image's factor and "
        "shapes it. `F.mse_loss` takes the mean straight away, so square the difference yourself.",
        "Return `(weight * (model(x_t, t) - noise).square()).mean()`, with the weight inside the mean.",
    ),
)
