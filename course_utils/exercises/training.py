"""Exercises on the loss, the training step and the average of the weights (notebook 04)."""

import copy
import numbers
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.exercises.cases import SHAPE, randn, steep_schedule
from course_utils.exercises.comparing import described
from course_utils.exercises.record import Exercise, Mistake, call, case
from course_utils.forward import add_noise, forward_step
from course_utils.sampling import predict_x_0
from course_utils.schedule import at, cosine_schedule, linear_schedule
from course_utils.training import EMA, diffusion_loss, training_step

# The loss


class Share(nn.Module):
    """A network of three weights, for images and points: a share of x that depends on the time, and a constant."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.4, 0.3, -0.2], dtype=dtype))

    def forward(self, x, t):
        share = self.weight[0] + self.weight[1] * torch.cos(t / 5).to(x.dtype)
        return share.reshape(-1, *[1] * (x.ndim - 1)) * x + self.weight[2]


def half(x, t):
    """A model that is no network, but a plain function."""
    return x / 2


def loss_case(model, shape, t, schedule, dtype=torch.float32):
    x_0, noise = (randn(*shape, seed=seed, dtype=dtype) for seed in (1, 2))
    return case(model, x_0.clamp(-1, 1), torch.tensor(t), noise, schedule)


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
    return {"loss": loss.detach() if isinstance(loss, torch.Tensor) else loss, "gradient": gradient}


def loss_with(
    noising=add_noise,
    told=lambda t, T: t,
    target=lambda noise, x_0: noise,
    cost=lambda error: error.square().mean(),
):
    """A loss in which something else is noised, told, aimed at, or added up."""

    def attempt(model, x_0, t, noise, schedule):
        x_t = noising(x_0, t, noise, schedule)
        return cost(model(x_t, told(t, schedule.T)) - target(noise, x_0))

    return attempt


def loss_of_the_picture(model, x_0, t, noise, schedule):
    x_t = add_noise(x_0, t, noise, schedule)
    return F.mse_loss(predict_x_0(x_t, t, model(x_t, t), schedule), x_0)


def loss_with_noise_of_its_own(model, x_0, t, noise, schedule):
    return diffusion_loss(model, x_0, t, torch.randn_like(x_0), schedule)


NUMBER_ONLY = (
    "No gradient comes with the loss: it is a bare number, so `backward` would fail, or teach the network nothing. "
    "Return the tensor, without .item(), .detach() or torch.no_grad(); the training step takes the number out."
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
            "The network's answer is compared with x_0, the clean picture. It was asked for the *noise* (notebook 03), "
            "and the sampler will take its answer for noise: compare it with `noise`.",
        ),
        Mistake(
            loss_of_the_picture,
            "This is the squared error of the predicted *picture*. It is (1 - alpha_bar) / alpha_bar times that of the "
            "noise, so nearly everything depends on the largest t. Compare the noise itself.",
        ),
        Mistake(
            loss_with(noising=lambda x_0, t, noise, schedule: x_0),
            "The network gets the clean picture, in which there is no noise to be seen; it could only learn to guess. "
            "Make x_t with add_noise first.",
        ),
        Mistake(
            loss_with(noising=lambda x_0, t, noise, schedule: add_noise(x_0, t, torch.randn_like(x_0), schedule)),
            "x_t is made with fresh noise, but the answer is compared with the argument `noise`, which the network has "
            "never seen. The two must be the same noise.",
        ),
        Mistake(
            loss_with_noise_of_its_own,
            "The function draws noise of its own, and leaves the argument `noise` unused. Drawing it is the training "
            "step's task; a loss that is given everything can be tried out and compared.",
        ),
        Mistake(
            loss_with(noising=forward_step),
            "x_t is made with forward_step, a single noising step. From the clean picture to level t it is one jump: "
            "add_noise.",
        ),
        Mistake(
            loss_with(cost=lambda error: error.square().sum()),
            "The squared errors are added up, where their *mean* is asked for. The sum grows with the batch and with "
            "the size of the pictures, and the step that follows grows with it.",
        ),
        Mistake(
            loss_with(cost=lambda error: error.square().flatten(1).sum(dim=1).mean()),
            "The errors are added up within each picture, and only the batch is averaged. Then the loss grows with the "
            "number of pixels; the mean runs over everything, so that a guess of no noise costs 1.",
        ),
        Mistake(
            loss_with(cost=lambda error: error.abs().mean()),
            "This is the mean *absolute* error. The bound led to the squared one. (The two aim at different things: "
            "squares at the mean of what is possible, absolute values at the median.)",
        ),
        Mistake(
            loss_with(cost=lambda error: error.square().mean().sqrt()),
            "A square root is taken of the mean squared error. Its gradient is divided by the loss, so every batch "
            "gets a different weight, and the best answer is no longer the mean.",
        ),
        Mistake(
            loss_with(told=lambda t, T: t / T),
            "The network is told t / T. It expects t itself, 1 .. T: its embedding can hardly tell numbers between 0 "
            "and 1 apart, and the sampler will tell it t.",
        ),
        Mistake(
            loss_with(told=lambda t, T: t - 1),
            "The network is told t - 1. Programs that count from 0 do that; our levels are 1 .. T everywhere, in the "
            "sampler too, so here it would learn every level under a wrong name.",
        ),
        Mistake(loss_with(cost=lambda error: error.square().mean().item()), NUMBER_ONLY),
    ),
    hints=(
        "Three things happen: the picture is noised, the network is asked, and its answer is compared. For the first "
        "there is a function already.",
        "x_t = add_noise(x_0, t, noise, schedule). The network is asked by model(x_t, t). What was its task?",
        "F.mse_loss(model(x_t, t), noise) is the mean squared error over all values, with its gradient.",
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
            diffusion_loss.__wrapped__,
            "All levels have the weight 1: this is the simple loss. Multiply the squared errors of each image by the "
            "weight of its level before the mean is taken.",
        ),
        Mistake(
            weighted_with(lambda snr, t: snr[t].clamp(max=5)),
            "The weights are min(SNR, 5), without the division by SNR. They belong to a network that predicts x_0; "
            "ours predicts the noise, whose error is SNR times as large, so divide by SNR.",
        ),
        Mistake(
            weighted_with(lambda snr, t: snr[t].clamp(min=5) / snr[t]),
            "This takes the larger of SNR and 5 (clamp(min=5) does). Then the weights are above 1 where there is much "
            "noise, and explode near T. The smaller one is asked for: clamp(max=5).",
        ),
        Mistake(
            weighted_with(min_snr, lambda weight, error: (weight.flatten() * error.square()).mean()),
            "The weights lie along the last axis of the picture. A tensor of shape (B,) is lined up with the width, "
            "which fits in silence where the width is B, as here. `at` shapes them (B, 1, ...), one for each image.",
        ),
        Mistake(
            weighted_with(min_snr, lambda weight, error: weight.mean() * error.square().mean()),
            "Errors and weights are averaged separately, and then multiplied. So every image counts the same, and only "
            "the size of the loss changes. Each image's errors have to meet their own weight before the mean.",
        ),
        Mistake(
            weighted_with(min_snr, lambda weight, error: (weight * error).square().mean()),
            "The weight is squared together with the error. It is a factor of the *squared* error: square first.",
        ),
        Mistake(
            weighted_with(min_snr, lambda weight, error: (weight * error.square()).mean() / weight.mean()),
            "The loss is divided by the mean of the weights. Then a level counts more in a batch with easy levels than "
            "in another, and the average over batches is no longer what was wanted. Take the plain mean.",
        ),
        Mistake(
            weighted_with(lambda snr, t: min_snr(snr, t - 1)),
            "The weights are those of level t - 1. The tables have an entry 0 for the clean picture, so the SNR of "
            "level t stands at index t.",
        ),
        Mistake(
            weighted_with(min_snr, lambda weight, error: (weight * error.square()).sum()),
            "The weighted errors are added up, where their mean is asked for. The sum grows with the batch and with "
            "the size of the pictures.",
        ),
        Mistake(weighted_with(min_snr, lambda weight, error: (weight * error.square()).mean().item()), NUMBER_ONLY),
    ),
    hints=(
        "It is diffusion_loss with one factor more, inside the mean. Make a table of the factors of all levels first; "
        "schedule.snr has T + 1 entries.",
        "The table is schedule.snr.clamp(max=5) / schedule.snr. `at(table, t, x_0)` picks each image's factor and "
        "shapes it. F.mse_loss takes the mean at once, so square the difference yourself.",
        "What is returned is (weight * (model(x_t, t) - noise).square()).mean(), with the weight inside the mean.",
    ),
)


# The training step

STEPS, LR = 4, 0.1
UNKNOWN = "can't be told"
EVEN = "{} .. {}, a separate one for each image, all equally often"
NORMAL = "from N(0, 1), a separate one for each image"
RIGHT_STEP = "one, along the gradient of the loss"
RIGHT_VALUE = "the mean squared error, as a float"


class Spy(nn.Module):
    """Answers weight * x_t + bias, notes what it is asked, and has old gradients to start with."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.5, -0.3]))
        self.weight.grad = torch.tensor([3.0, -2.0])
        self.asked = []

    def forward(self, x, t):
        self.asked.append((x.detach().clone(), torch.as_tensor(t).expand(len(x)).clone()))
        return self.answer(x)

    def answer(self, x):
        return self.weight[0] * x + self.weight[1]


@dataclass
class Step:
    """What was seen of one training step."""

    x_t: torch.Tensor  # what the network was asked about: as many items as it was
    t: torch.Tensor
    value: object  # what was returned
    before: torch.Tensor  # the weights
    after: torch.Tensor
    old_gradient: torch.Tensor
    gradient_left: bool  # whether there is one afterwards
    noise: torch.Tensor = None  # what must have been mixed in
    loss: float = None  # at these x_t, t and noise
    gradient: torch.Tensor = None


def step_cases():
    return [step_case((5000, 2), 12), step_case((200, 1, 3, 2), 5)]


def step_case(shape, T):
    model = Spy()
    x_0 = randn(*shape, seed=1).clamp(-1, 1)
    return case(model, x_0, steep_schedule(T), torch.optim.SGD(model.parameters(), lr=LR))


def some_steps(attempt, case):
    """In words, which are the same for every right answer, whatever numbers it draws and in whatever order."""
    _, x_0, schedule, _ = case.args
    steps = [one_step(attempt, case) for _ in range(STEPS)]
    if all(step.value is None and len(step.t) == 0 and torch.equal(step.before, step.after) for step in steps):
        return None
    if any(len(step.t) < len(x_0) for step in steps):
        asked = f"the network was asked about {len(steps[0].t)} items, for a batch of {len(x_0)}"
        return dict.fromkeys(OBSERVED, UNKNOWN) | {"levels": asked}
    for step in steps:
        step.x_t, step.t = step.x_t[: len(x_0)], step.t[: len(x_0)]
    observed = dict.fromkeys(OBSERVED, UNKNOWN) | {"levels": levels_in_words(steps, schedule.T)}
    if all(is_level(step.t, schedule.T) for step in steps):
        for step in steps:
            recover(step, x_0, schedule)
        observed["dtype of x_t"] = str(steps[0].x_t.dtype)
        observed["noise"] = noise_in_words(steps)
        observed["first step"] = movement_in_words(steps[0])
        observed["later steps"] = " / ".join(sorted({movement_in_words(step) for step in steps[1:]}))
        observed["returned"] = " / ".join(sorted({value_in_words(step) for step in steps}))
    return observed


OBSERVED = "levels", "dtype of x_t", "noise", "first step", "later steps", "returned"


def one_step(attempt, case):
    model = case.args[0]
    model.asked.clear()
    before, old = model.weight.detach().clone(), model.weight.grad
    old = torch.zeros_like(before) if old is None else old.clone()
    value = call(attempt, case)
    x_t, t = (torch.cat(asked) for asked in zip(*model.asked, strict=True)) if model.asked else (torch.empty(0),) * 2
    left = model.weight.grad is not None and bool(model.weight.grad.any())
    return Step(x_t, t, value, before, model.weight.detach().clone(), old, left)


def is_level(t, T):
    return bool(((t == t.round()) & (t >= 1) & (t <= T)).all())


def recover(step, x_0, schedule):
    """The noise that must have been mixed in, and the loss and gradient that belong to it."""
    t = step.t.long()
    step.noise = (step.x_t - at(schedule.alpha_bar.sqrt(), t, x_0) * x_0) / at((1 - schedule.alpha_bar).sqrt(), t, x_0)
    spy = Spy()
    spy.weight.data = step.before.clone()
    loss = F.mse_loss(spy.answer(step.x_t), step.noise)
    step.loss, [step.gradient] = loss.item(), torch.autograd.grad(loss, spy.weight)


def levels_in_words(steps, T):
    t = torch.cat([step.t for step in steps])
    if (t != t.round()).any():
        return "no whole numbers"
    if all(len(step.t.unique()) == 1 for step in steps):
        return "one for the whole batch"
    if (t.min(), t.max()) != (1, T):
        return f"{t.min().item():g} .. {t.max().item():g}"
    if torch.equal(steps[0].t, steps[1].t):
        return "the same ones at every step"
    count = t.long().bincount(minlength=T + 1)[1:]
    chance = (len(t) / T * (1 - 1 / T)) ** 0.5  # the standard deviation of a count
    return EVEN.format(1, T) if (count - len(t) / T).abs().max() < 6 * chance else f"1 .. {T}, but not equally often"


def noise_in_words(steps):
    first = steps[0].noise
    if first.std(dim=0).max() < 1e-3:
        return "the same for the whole batch"
    if first.flatten(1).std(dim=1).max() < 1e-3:
        return "one number for each image"
    if (first - steps[1].noise).abs().max() < 1e-3:
        return "the same at every step"
    noise = torch.cat([step.noise for step in steps]).double()
    mean, deviation = noise.mean().item(), noise.std().item()
    chance = noise.numel() ** -0.5
    if abs(mean) > 6 * chance or abs(deviation - 1) > 6 * chance:
        return f"of mean {abs(mean):.1f} and standard deviation {deviation:.1f}"
    if abs((noise - mean).pow(4).mean().item() - 3) > 6 * 10 * chance:  # 96 is the variance of x^4 for a normal x
        return "of mean 0 and standard deviation 1, but not normal"
    return NORMAL


def movement_in_words(step):
    moved = (step.before - step.after) / LR
    if torch.equal(step.before, step.after):
        return "none, though there is a gradient" if step.gradient_left else "none, and no gradient is left"
    if close(moved, step.gradient):
        return RIGHT_STEP
    if close(moved, step.gradient + step.old_gradient):
        return "one along the gradient, with that of earlier steps still in it"
    ratio = (moved @ step.gradient / step.gradient.square().sum()).item()
    if close(moved, ratio * step.gradient):
        return f"{ratio:.3g} times as far as the gradient says"
    return "one that is not along the gradient of the loss"


def close(one, other):
    return (one - other).norm() < 1e-3 * (1 + other.norm())


def value_in_words(step):
    if isinstance(step.value, torch.Tensor):
        return "a tensor"
    if not isinstance(step.value, numbers.Real):
        return described(step.value)
    near = abs(step.value - step.loss) < 1e-3 * (1 + step.loss)
    return RIGHT_VALUE if near else "a number, but not the mean squared error"


def zero_backward_step(optimizer, value):
    optimizer.zero_grad()
    value.backward()
    optimizer.step()


def never_zeroed(optimizer, value):
    value.backward()
    optimizer.step()


def zeroed_at_the_end(optimizer, value):
    value.backward()
    optimizer.step()
    optimizer.zero_grad()


def zeroed_too_late(optimizer, value):
    value.backward()
    optimizer.zero_grad()
    optimizer.step()


def no_step(optimizer, value):
    optimizer.zero_grad()
    value.backward()


def step_with(
    levels=lambda B, T: torch.randint(1, T + 1, (B,)),
    noise_like=torch.randn_like,
    learn=zero_backward_step,
    returned=lambda value: value.item(),
):
    """A training step in which something else is drawn, done or returned."""

    def attempt(model, x_0, schedule, optimizer):
        t = levels(len(x_0), schedule.T)
        value = diffusion_loss(model, x_0, t, noise_like(x_0), schedule)
        learn(optimizer, value)
        return returned(value)

    return attempt


def seeded_step(model, x_0, schedule, optimizer):
    torch.manual_seed(0)
    return training_step(model, x_0, schedule, optimizer)


TRAINING_STEP = Exercise(
    name="training.training_step",
    notebook="04",
    finished=training_step,
    cases=step_cases,
    observe=some_steps,
    mistakes=(
        Mistake(
            step_with(lambda B, T: torch.randint(1, T, (B,))),
            "The last level, T, is never drawn: randint leaves out its upper end. Sampling starts at just that level, "
            "with a network that has never seen it. Ask for T + 1.",
        ),
        Mistake(
            step_with(lambda B, T: torch.randint(0, T, (B,))),
            "The levels are drawn from 0 .. T - 1, as in programs that count from 0. Here level 0 is the clean "
            "picture, so add_noise refuses it, and T would be missing: draw from 1 .. T, both included.",
        ),
        Mistake(
            step_with(lambda B, T: torch.randint(1, 1001, (B,))),
            "The number 1000 is written into the function. Not every schedule has 1000 levels (these tests have 12 and "
            "5): ask the schedule, schedule.T.",
        ),
        Mistake(
            step_with(lambda B, T: torch.randint(1, T + 1, (1,)).expand(B)),
            "All the images of a batch get the same level. On average that is right, but the gradient gets much "
            "noisier, since each step hears of one level only. Draw len(x_0) of them.",
        ),
        Mistake(
            step_with(noise_like=torch.rand_like),
            "The noise is uniform between 0 and 1: that is rand. The forward process adds noise from N(0, 1), which "
            "is randn. With rand the loss even looks better, and the samples are useless.",
        ),
        Mistake(
            step_with(noise_like=lambda x_0: torch.randn_like(x_0[:1]).expand_as(x_0)),
            "All the images of a batch share one noise. Then a step learns from a single picture of noise, and the "
            "gradient is far noisier than it need be. Draw noise of the shape of x_0.",
        ),
        Mistake(
            seeded_step,
            "Every step draws the same levels and the same noise, so the network learns those few by heart. A seed set "
            "inside the function does this, and so does a new torch.Generator(); set seeds outside of it, once.",
        ),
        Mistake(
            step_with(learn=never_zeroed),
            "The gradients are not cleared: `backward` *adds* to what is there, so each step also follows the "
            "gradients of all the steps before it. Call optimizer.zero_grad() before backward.",
        ),
        Mistake(
            step_with(learn=zeroed_at_the_end),
            "The gradients are cleared at the end only. That works as long as nobody else calls `backward`; here the "
            "weights had gradients from before, and the first step followed these, too. Clear them before backward.",
        ),
        Mistake(
            step_with(learn=zeroed_too_late),
            "The weights stay as they are, because there is no gradient when the optimizer takes its step. Either "
            "`backward` is missing, or zero_grad comes after it. The order is zero_grad, backward, step.",
        ),
        Mistake(
            step_with(learn=no_step),
            "The gradient is worked out, but the weights stay as they are: optimizer.step() is missing.",
        ),
        Mistake(
            step_with(returned=lambda value: value),
            "The loss comes back as a tensor. With it the whole graph of the step is kept; a history of thousands of "
            "them fills the memory. Return the number: .item().",
        ),
        Mistake(
            step_with(returned=lambda value: None),
            "The step is right, but nothing is returned. The loop wants the loss, to show how it falls: return it as "
            "a float.",
        ),
    ),
    hints=(
        "First the two draws: t, one whole number from 1 .. T for each image, and noise like x_0. Mind the upper end "
        "of torch.randint. Then diffusion_loss.",
        "t = torch.randint(1, schedule.T + 1, (len(x_0),)) and noise = torch.randn_like(x_0). Four lines follow: the "
        "loss, and the three that every training loop in PyTorch has.",
        "optimizer.zero_grad(), then the backward method of the loss, then optimizer.step(). Return .item() of the "
        "loss.",
    ),
)


# The average of the weights

UPDATES = 4


class Small(nn.Module):
    """Two weights and a buffer, as BatchNorm has them."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.weight = nn.Parameter(randn(3, 2, seed=1, dtype=dtype))
        self.bias = nn.Parameter(randn(2, seed=2, dtype=dtype))
        self.register_buffer("seen", randn(2, seed=3, dtype=dtype))

    @torch.no_grad()
    def learn(self, seed):
        """As if steps were taken: everything changes."""
        for i, tensor in enumerate([*self.parameters(), *self.buffers()]):
            tensor.copy_(randn(*tensor.shape, seed=10 * seed + i, dtype=tensor.dtype))


def ema_cases():
    return [case(Small()), case(Small(), decay=0.2), case(Small(torch.float64), decay=0.999)]


def averages(attempt, case):
    """The average after each update, and in words what else there is to see."""
    [model] = case.args
    before = state_of(model)
    ema = call(attempt, case)
    if ema is None:
        return None
    found = {"the copy": "is one", "the model": "is left alone", "gradients of the average": "are switched off"}
    if shares_memory(ema.model, model):
        return found | {"the copy": "shares its weights with the model"}
    if state_of(model) != before:
        return found | {"the model": "is changed when it is copied"}
    found["weights before the first update"] = flat(ema.model.parameters())
    for number in range(1, UPDATES + 1):
        model.learn(number)
        before = state_of(model)
        ema.update(model)
        if state_of(model) != before:
            return found | {"the model": "is changed by `update`"}
        found[f"weights after update {number}"] = flat(ema.model.parameters())
    if any(weight.grad_fn is not None for weight in ema.model.parameters()):
        found["gradients of the average"] = "are tracked by `update`"
    elif any(weight.requires_grad for weight in ema.model.parameters()):
        found["gradients of the average"] = "are switched on"
    return found | {"buffers at the end": flat(ema.model.buffers()), "updates": ema.updates}


def state_of(model):
    tensors = [*model.parameters(), *model.buffers()]
    return model.training, [(tensor.requires_grad, tensor.tolist()) for tensor in tensors]


def shares_memory(one, other):
    addresses = [{weight.data_ptr() for weight in model.parameters()} for model in (one, other)]
    return bool(addresses[0] & addresses[1])


def flat(tensors):
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


class Average:
    """An EMA in pieces, each of which a wrong one can replace."""

    def __init__(self, model, decay=0.999):
        self.model = self.copied(model)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model):
        self.mix_all(model, self.kept(self.updates + 1, self.updates + 10))
        self.updates += 1

    def copied(self, model):
        return copy.deepcopy(model).eval().requires_grad_(False)

    def kept(self, so_far, later):
        return min(self.decay, so_far / later)

    def mix_all(self, model, decay):
        for average, weight in zip(self.model.parameters(), model.parameters(), strict=True):
            self.mix(average, weight, decay)
        for average, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            self.mix_buffer(average, buffer, decay)

    def mix(self, average, weight, decay):
        average.lerp_(weight, 1 - decay)

    def mix_buffer(self, average, buffer, decay):
        average.copy_(buffer)


def ema_with(**pieces):
    return type("EMA", (Average,), pieces)


def update_with_gradients(self, model):
    self.mix_all(model, self.kept(self.updates + 1, self.updates + 10))
    self.updates += 1


def update_not_counted(self, model):
    with torch.no_grad():
        self.mix_all(model, self.kept(1, 10))


def rebound(self, average, weight, decay):
    average = decay * average + (1 - decay) * weight


def copied_with_gradients(self, model):
    return copy.deepcopy(model)


AN_EMA = Exercise(
    name="training.EMA",
    notebook="04",
    finished=EMA,
    cases=ema_cases,
    observe=averages,
    mistakes=(
        Mistake(
            ema_with(copied=lambda self, model: model),
            "The average and the model are the same weights: `self.model = model` gives them a second name, and copies "
            "nothing. Then there is no average, only the latest weights. copy.deepcopy(model) makes a copy.",
        ),
        Mistake(
            ema_with(kept=lambda self, so_far, later: self.decay),
            "The decay is the same at every update, so a short run ends with an average that is full of the random "
            "start. It has to begin low and grow: min(decay, (n + 1) / (n + 10)).",
        ),
        Mistake(
            ema_with(kept=lambda self, so_far, later: max(self.decay, so_far / later)),
            "Of the two decays the larger one is taken. Then there is no start with a low decay, and no limit later. "
            "The smaller one is wanted: min.",
        ),
        Mistake(
            ema_with(kept=lambda self, so_far, later: min(self.decay, (so_far + 1) / (later + 1))),
            "The decay is one update ahead: n is the number of updates *before* this one, so the first has n = 0 and "
            "the decay 1 / 10. Count at the end of `update`.",
        ),
        Mistake(
            ema_with(update=update_not_counted),
            "The updates are not counted, so the decay never grows beyond 1 / 10, and the average follows the latest "
            "weights almost at once. Add 1 to self.updates in `update`.",
        ),
        Mistake(
            ema_with(mix=lambda self, average, weight, decay: average.lerp_(weight, decay)),
            "The two shares are swapped. The decay is what the *average* keeps; the new weights get 1 - decay, a small "
            "share later on. (a.lerp_(b, s) moves a towards b by the share s.)",
        ),
        Mistake(
            ema_with(mix=lambda self, average, weight, decay: average.copy_(weight)),
            "The latest weights take the place of the average: the decay has no effect. Move the average by the share "
            "1 - decay towards them, and no further.",
        ),
        Mistake(
            ema_with(mix=rebound),
            "The average never changes. `average = ...` in a loop gives the name to a new tensor, and the one in the "
            "model stays as it was. Change it in place: lerp_, copy_, or mul_ and add_.",
        ),
        Mistake(
            ema_with(mix=lambda self, average, weight, decay: weight.lerp_(average, decay)),
            "`update` changes the model that is being trained. The average moves, the model is only read: what is "
            "changed in place has to belong to self.model.",
        ),
        Mistake(
            ema_with(mix_buffer=lambda self, average, buffer, decay: average),
            "The buffers stay as they were at the start. They belong to the model as well (BatchNorm keeps its means "
            "there), but are no parameters, so they need a loop of their own, which copies them.",
        ),
        Mistake(
            ema_with(mix_buffer=Average.mix),
            "The buffers are averaged like weights. They hold what the model has counted or averaged already, and not "
            "all of them are numbers that can be averaged: copy them as they are.",
        ),
        Mistake(
            ema_with(update=update_with_gradients),
            "`update` is tracked for gradients, so the average hangs on a graph that grows with every step, until the "
            "memory is full. Put @torch.no_grad() above `def update`.",
        ),
        Mistake(
            ema_with(copied=copied_with_gradients),
            "The weights of the average still ask for gradients. Nobody trains them, and with each picture drawn from "
            "the average, memory would go into a graph. .requires_grad_(False) on the copy switches them off.",
        ),
        Mistake(
            ema_with(copied=copied_with_gradients, update=update_with_gradients),
            "PyTorch refuses to change, in place, weights that ask for gradients. Two things are missing: the copy "
            "should not ask for any, .requires_grad_(False), and `update` belongs under @torch.no_grad().",
        ),
    ),
    hints=(
        "__init__ keeps three things: a copy of the model (copy.deepcopy), the decay, and a count that starts at 0. "
        "`update` goes through the parameters of the copy and of the model side by side; zip does that.",
        "decay = min(self.decay, (self.updates + 1) / (self.updates + 10)). An average is moved in place by "
        "average.lerp_(weight, 1 - decay). Buffers are gone through in the same way, and copied with copy_.",
        "The copy is copy.deepcopy(model).eval().requires_grad_(False), `update` stands under @torch.no_grad(), and "
        "its last line adds 1 to self.updates.",
    ),
)

EXERCISES = (DIFFUSION_LOSS, TRAINING_STEP, AN_EMA, WEIGHTED_LOSS)
