"""Exercises on the training step and on the average of the weights (notebook 04)."""

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.classroom.exercises.cases import factors, randn, steep_schedule
from course_utils.classroom.exercises.comparing import described, is_number
from course_utils.classroom.exercises.record import Exercise, Mistake, call, case
from course_utils.training import EMA, diffusion_loss, training_step

# The training step

STEPS = 4
UNKNOWN = "can't be told"
EVEN = "{} .. {}, a separate one for each image, all equally often"
NORMAL = "from N(0, 1), a separate one for each image"
RIGHT_STEP = "one, along the gradient of the loss"
RIGHT_VALUE = "the mean squared error"


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
    lr: float
    noise: torch.Tensor = None  # what must have been mixed in
    loss: float = None  # at these x_t, t and noise
    loss_after: float = None  # with the weights after the step
    gradient: torch.Tensor = None


def step_cases():
    return [step_case((5000, 2), 12, lr=0.1), step_case((200, 1, 3, 2), 5, lr=0.03)]


def step_case(shape, T, lr):
    model = Spy()
    x_0 = randn(*shape, seed=1).clamp(-1, 1)
    return case(model, x_0, steep_schedule(T), torch.optim.SGD(model.parameters(), lr=lr))


def some_steps(attempt, case):
    """In words, which are the same for every right answer, whatever numbers it draws and in whatever order."""
    _, x_0, path, _ = case.args
    steps = [one_step(attempt, case) for _ in range(STEPS)]
    if all(step.value is None and len(step.t) == 0 and torch.equal(step.before, step.after) for step in steps):
        return None
    if any(len(step.t) < len(x_0) for step in steps):
        asked = f"the network was asked about {len(steps[0].t)} items, for a batch of {len(x_0)}"
        return dict.fromkeys(OBSERVED, UNKNOWN) | {"levels": asked}
    for step in steps:
        step.x_t, step.t = step.x_t[: len(x_0)], step.t[: len(x_0)]
    observed = dict.fromkeys(OBSERVED, UNKNOWN) | {"levels": levels_in_words(steps, path.T)}
    if all(is_level(step.t, path.T) for step in steps):
        for step in steps:
            recover(step, x_0, path)
        observed["dtype of x_t"] = str(steps[0].x_t.dtype)
        observed["noise"] = noise_in_words(steps)
        observed["first step"] = movement_in_words(steps[0])
        observed["later steps"] = " / ".join(sorted({movement_in_words(step) for step in steps[1:]}))
        observed["returned"] = " / ".join(sorted({value_in_words(step) for step in steps}))
        observed["mode of the model"] = "as it was" if case.args[0].training else "changed to eval"
    return observed


OBSERVED = "levels", "dtype of x_t", "noise", "first step", "later steps", "returned", "mode of the model"


def one_step(attempt, case):
    model = case.args[0]
    model.asked.clear()
    before, old = model.weight.detach().clone(), model.weight.grad
    old = torch.zeros_like(before) if old is None else old.clone()
    value = call(attempt, case)
    x_t, t = (torch.cat(asked) for asked in zip(*model.asked, strict=True)) if model.asked else (torch.empty(0),) * 2
    left = model.weight.grad is not None and bool(model.weight.grad.any())
    lr = case.args[3].param_groups[0]["lr"]
    return Step(x_t, t, value, before, model.weight.detach().clone(), old, left, lr)


def is_level(t, T):
    return bool(((t == t.round()) & (t >= 1) & (t <= T)).all())


def recover(step, x_0, path):
    """The noise that must have been mixed in, and the loss and gradient that belong to it."""
    a, b = factors(path, step.t.long(), x_0)
    step.noise = (step.x_t - a * x_0) / b
    spy = Spy()
    spy.weight.data = step.before.clone()
    loss = F.mse_loss(spy.answer(step.x_t), step.noise)
    step.loss, [step.gradient] = loss.item(), torch.autograd.grad(loss, spy.weight)
    spy.weight.data = step.after.clone()
    step.loss_after = F.mse_loss(spy.answer(step.x_t), step.noise).item()


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
    moved = (step.before - step.after) / step.lr
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
    if not is_number(step.value):
        return described(step.value)
    if isinstance(step.value, torch.Tensor) and step.value.requires_grad:
        return "the loss with its gradient, which keeps the whole graph in memory: `.detach()` it"
    for loss, words in ((step.loss, RIGHT_VALUE), (step.loss_after, "the loss after the step, not before it")):
        if abs(float(step.value) - loss) < 1e-4 * (1 + loss):
            return words
    return "a number, but not the mean squared error"


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


def no_gradient(optimizer, value):
    zero_backward_step(optimizer, value.detach())


def no_step(optimizer, value):
    optimizer.zero_grad()
    value.backward()


def step_with(
    levels=lambda B, T: torch.randint(1, T + 1, (B,)),
    noise_like=torch.randn_like,
    learn=zero_backward_step,
    returned=lambda value: value.detach(),
):
    """A training step in which something else is drawn, done or returned."""

    def attempt(model, x_0, path, optimizer):
        t = levels(len(x_0), path.T)
        value = diffusion_loss(model, x_0, t, noise_like(x_0), path)
        learn(optimizer, value)
        return returned(value)

    return attempt


def seeded_step(model, x_0, path, optimizer):
    torch.manual_seed(0)
    return training_step(model, x_0, path, optimizer)


TRAINING_STEP = Exercise(
    name="training.training_step",
    notebook="04",
    finished=training_step,
    cases=step_cases,
    observe=some_steps,
    by_chance=True,
    mistakes=(
        Mistake(
            step_with(lambda B, T: torch.randint(1, T, (B,))),
            "The last level, T, is never drawn: `randint` leaves out its upper end. Sampling starts at exactly that "
            "level, with a network that has never seen it. Ask for `T + 1`.",
        ),
        Mistake(
            step_with(lambda B, T: torch.randint(0, T, (B,))),
            "The levels are drawn from 0 to `T - 1`, as in programs that count from 0. Here level 0 is the clean "
            "picture, in which there is no noise to find, and T is never drawn. Draw from 1 to T, both included.",
        ),
        Mistake(
            step_with(lambda B, T: torch.randint(1, 1001, (B,))),
            "The number 1000 is hard-coded. Not every schedule has 1000 levels (these tests have 12 and 5): use "
            "`path.T`.",
        ),
        Mistake(
            step_with(lambda B, T: torch.randint(1, T + 1, (1,)).expand(B)),
            "All the images in a batch get the same level. On average that is right, but the gradient gets much "
            "noisier, since each step sees only one level. Draw `len(x_0)` of them.",
        ),
        Mistake(
            step_with(noise_like=torch.rand_like),
            "The noise is uniform between 0 and 1: that is `rand`. The forward process adds noise from N(0, 1), which "
            "is `randn`. With `rand` the loss even looks better, and the samples are useless.",
        ),
        Mistake(
            step_with(noise_like=lambda x_0: torch.randn_like(x_0[:1]).expand_as(x_0)),
            "All the images in a batch share the same noise. Each step then learns from a single picture of noise, "
            "and the gradient is far noisier than it need be. Draw noise with the shape of `x_0`.",
        ),
        Mistake(
            seeded_step,
            "Every step draws the same levels and the same noise, so the network learns those few by heart. A seed "
            "set inside the function does this, and so does a new `torch.Generator()`. Set the seed once, outside it.",
        ),
        Mistake(
            step_with(learn=never_zeroed),
            "The gradients are not cleared. `backward` *adds* to what is there, so each step also follows the "
            "gradients of all the steps before it. Call `optimizer.zero_grad()` before `backward`.",
        ),
        Mistake(
            step_with(learn=zeroed_at_the_end),
            "The gradients are only cleared at the end. That works until some other code calls `backward`. Here the "
            "weights already had gradients, and the first step followed those, too. Clear them before `backward`.",
        ),
        Mistake(
            step_with(learn=zeroed_too_late),
            "The weights do not change, because there is no gradient when the optimizer takes its step. Either "
            "`backward` is missing, or `zero_grad` comes after it. The order is `zero_grad`, `backward`, `step`.",
        ),
        Mistake(
            step_with(learn=no_step),
            "The gradient is worked out, but the weights stay as they are: `optimizer.step()` is missing.",
        ),
        Mistake(
            step_with(learn=no_gradient),
            "The loss has lost its gradient before `backward` could use it. Call `.detach()` or `.item()` only when "
            "you return the loss, after the step.",
        ),
        Mistake(
            step_with(returned=lambda value: value),
            "The step is right, but the loss comes back with its gradient, and with it all that was worked out on the "
            "way, so a long training fills the memory. Return `loss.detach()`.",
        ),
        Mistake(
            step_with(returned=lambda value: None),
            "The step is right, but nothing is returned. The training loop needs the loss, to show how it falls, so "
            "return it as well.",
        ),
    ),
    hints=(
        "First draw two things: t, one whole number from 1 to T for each image, and noise like `x_0`. Watch the upper "
        "end of `torch.randint`. Then call `diffusion_loss`.",
        "`t = torch.randint(1, path.T + 1, (len(x_0),))` and `noise = torch.randn_like(x_0)`. Four lines follow: the "
        "loss, and the three that every PyTorch training loop has.",
        "`optimizer.zero_grad()`, then the loss's `backward` method, then `optimizer.step()`. Return the loss without "
        "its gradient: `.detach()`, or `.item()` for a plain number.",
    ),
)


# The average of the weights

UPDATES = 4


class Small(nn.Module):
    """Two weights, one that is frozen, and a buffer, as BatchNorm has them."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.weight = nn.Parameter(randn(3, 2, seed=1, dtype=dtype))
        self.bias = nn.Parameter(randn(2, seed=2, dtype=dtype))
        self.frozen = nn.Parameter(randn(2, seed=4, dtype=dtype), requires_grad=False)
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


def no_count(self, model, decay=0.999):
    self.model, self.decay = self.copied(model), decay


def update_not_counting(self, model):
    with torch.no_grad():
        self.mix_all(model, self.decay)


def rebound(self, average, weight, decay):
    average = decay * average + (1 - decay) * weight


def copied_with_gradients(self, model):
    return copy.deepcopy(model)


AVERAGED_WEIGHTS = Exercise(
    name="training.EMA",
    notebook="04",
    finished=EMA,
    cases=ema_cases,
    observe=averages,
    mistakes=(
        Mistake(
            ema_with(copied=lambda self, model: model),
            "The average and the model are the same weights: `self.model = model` gives them a second name and copies "
            "nothing. So there is no average, only the latest weights. `copy.deepcopy(model)` makes a copy.",
        ),
        Mistake(
            ema_with(kept=lambda self, so_far, later: self.decay),
            "The decay is the same at every update, so after a short run the average is still full of the random "
            "start. It has to begin low and grow: `min(decay, (n + 1) / (n + 10))`.",
        ),
        Mistake(
            ema_with(kept=lambda self, so_far, later: max(self.decay, so_far / later)),
            "This takes the larger of the two decays. Then it does not start low, and it has no limit later on. Take "
            "the smaller one: `min`.",
        ),
        Mistake(
            ema_with(kept=lambda self, so_far, later: min(self.decay, (so_far + 1) / (later + 1))),
            "The decay is one update ahead. n is the number of updates *before* this one, so the first update has "
            "`n = 0` and the decay `1 / 10`. Count at the end of `update`.",
        ),
        Mistake(
            ema_with(update=update_not_counted),
            "The updates are not counted, so the decay never gets above `1 / 10`, and the average follows the latest "
            "weights almost at once. Add 1 to `self.updates` in `update`.",
        ),
        Mistake(
            ema_with(__init__=no_count, update=update_not_counting),
            "There is no `self.updates`. Let it start at 0 in `__init__` and add 1 in `update`: the decay grows "
            "with it.",
        ),
        Mistake(
            ema_with(mix=lambda self, average, weight, decay: average.lerp_(weight, decay)),
            "The two shares are swapped. The decay is what the *average* keeps. The new weights get `1 - decay`, "
            "which is small later on. (`a.lerp_(b, s)` moves `a` towards `b` by the share `s`.)",
        ),
        Mistake(
            ema_with(mix=lambda self, average, weight, decay: average.copy_(weight)),
            "The latest weights replace the average, so the decay has no effect. Move the average towards them by the "
            "share `1 - decay`, and no further.",
        ),
        Mistake(
            ema_with(mix=rebound),
            "The average never changes. `average = ...` in a loop gives the name to a new tensor, and the one in the "
            "model stays as it was. Change it in place: `lerp_`, `copy_`, or `mul_` and `add_`.",
        ),
        Mistake(
            ema_with(mix=rebound, mix_buffer=rebound),
            "Neither weights nor buffers of the copy ever change. `average = ...` in a loop gives the name to a new "
            "tensor, and the one in the model stays as it was. Change it in place: weights with `lerp_`, buffers with "
            "`copy_`.",
        ),
        Mistake(
            ema_with(mix=lambda self, average, weight, decay: weight.lerp_(average, decay)),
            "`update` changes the model that is being trained. It should move the average and only read the model: "
            "whatever you change in place has to belong to `self.model`.",
        ),
        Mistake(
            ema_with(mix_buffer=lambda self, average, buffer, decay: average),
            "The buffers stay as they were at the start. They belong to the model as well (BatchNorm keeps its means "
            "there), but they are not parameters. They need a loop of their own that copies them.",
        ),
        Mistake(
            ema_with(mix_buffer=Average.mix),
            "The buffers are averaged like weights. They hold what the model has already counted or averaged, and not "
            "all of them are numbers that can be averaged. Copy them as they are.",
        ),
        Mistake(
            ema_with(update=update_with_gradients),
            "`update` is tracked for gradients, so the average drags along a graph that grows with every step, until "
            "the memory is full. Put `@torch.no_grad()` above `def update`.",
        ),
        Mistake(
            ema_with(copied=copied_with_gradients),
            "The weights of the average still ask for gradients. They are never trained, and each picture drawn from "
            "the average would waste memory on a graph. Call `.requires_grad_(False)` on the copy to switch them off.",
        ),
        Mistake(
            ema_with(copied=copied_with_gradients, update=update_with_gradients),
            "PyTorch refuses to change weights in place while they ask for gradients. Two things are missing: "
            "`.requires_grad_(False)` on the copy, and `@torch.no_grad()` above `update`.",
        ),
    ),
    hints=(
        "`__init__` keeps three things: a copy of the model (`copy.deepcopy`), the decay, and a count that starts at "
        "0. `update` goes through the parameters of the copy and of the model side by side; `zip` does that.",
        "`decay = min(self.decay, (self.updates + 1) / (self.updates + 10))`. To move an average in place, call "
        "`average.lerp_(weight, 1 - decay)`. Go through the buffers in the same way, and copy them with `copy_`.",
        "The copy is `copy.deepcopy(model).eval().requires_grad_(False)`. `update` has `@torch.no_grad()` above it, "
        "and its last line adds 1 to `self.updates`.",
    ),
)
