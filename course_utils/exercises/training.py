"""Exercises on training (notebook 04)."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.exercises.cases import SHAPE, randn, random, steep_schedule
from course_utils.exercises.record import Approximately, Exercise, Mistake, call, case
from course_utils.forward import add_noise
from course_utils.sampling import predict_x_0
from course_utils.training import EMA, diffusion_loss, training_step


class OneWeight(nn.Module):
    """The smallest network that there is: a weight times x_t, and a little of t. It notes what it is called with."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.3))
        self.calls = []

    def forward(self, x_t, t):
        self.calls.append((x_t.detach().clone(), torch.as_tensor(t).clone()))
        return self.weight * x_t + 0.01 * torch.as_tensor(t).reshape(-1, *[1] * (x_t.ndim - 1))


# The loss


def loss_cases():
    schedule = steep_schedule()
    return [
        case(OneWeight(), randn(*SHAPE, seed=1), torch.tensor([1, 12, 5, 7]), randn(*SHAPE, seed=2), schedule),
        case(OneWeight(), randn(3, 2, seed=3), torch.tensor([2, 12, 1]), randn(3, 2, seed=4), schedule),
    ]


def loss_and_gradient(attempt, case):
    value = call(attempt, case)
    if value is None or value is Ellipsis:
        return None
    weight = case.args[0].weight
    weight.grad = None
    if isinstance(value, torch.Tensor) and value.numel() == 1 and value.requires_grad:
        value.backward()
    return {"the loss": value, "its gradient": "none" if weight.grad is None else weight.grad}


def loss_with(error=F.mse_loss, given=add_noise, target=lambda x_0, noise, x_t: noise):
    def attempt(model, x_0, t, noise, schedule):
        x_t = given(x_0, t, noise, schedule)
        return error(model(x_t, t), target(x_0, noise, x_t))

    return attempt


def loss_of_the_picture(model, x_0, t, noise, schedule):
    x_t = add_noise(x_0, t, noise, schedule)
    return F.mse_loss(predict_x_0(x_t, t, model(x_t, t), schedule), x_0)


def loss_on_other_noise(model, x_0, t, noise, schedule):
    other = torch.randn_like(x_0)
    return F.mse_loss(model(add_noise(x_0, t, other, schedule), t), other)


LOSS = Exercise(
    name="training.diffusion_loss",
    notebook="04",
    finished=diffusion_loss,
    cases=loss_cases,
    observe=loss_and_gradient,
    mistakes=(
        Mistake(
            loss_with(target=lambda x_0, noise, x_t: x_0),
            "The network's answer is compared with the picture. It is asked for the noise, so compare it with `noise`.",
        ),
        Mistake(
            loss_with(target=lambda x_0, noise, x_t: x_t),
            "The network's answer is compared with x_t, which it was given. It is asked for the noise in it.",
        ),
        Mistake(
            loss_with(given=lambda x_0, t, noise, schedule: x_0),
            "The network is shown the clean picture, in which there is no noise to be seen. Make x_t with add_noise, "
            "and show it that.",
        ),
        Mistake(
            loss_with(error=lambda a, b: (a - b).square().sum()),
            "The squared errors are added up. Take their mean: then the loss, and with it the right learning rate, "
            "does not depend on the size of the batch or of the pictures.",
        ),
        Mistake(
            loss_with(error=F.l1_loss),
            "This is the mean *absolute* error. The bound led to squares; what is best for absolute errors is a "
            "median, and the sampler needs a mean.",
        ),
        Mistake(
            loss_with(error=lambda a, b: F.mse_loss(a, b).sqrt()),
            "The square root at the end is too much: it is the mean squared error that comes out of the bound.",
        ),
        Mistake(
            loss_with(error=lambda a, b: F.mse_loss(a, b).detach()),
            "The number is right, but no gradient can flow back through it: something like .item(), .detach() or "
            "torch.no_grad() cut it off from the network.",
        ),
        Mistake(
            loss_of_the_picture,
            "This is the squared error of the predicted picture, which weighs the levels by (1 - alpha_bar) / "
            "alpha_bar. The simple loss compares the noise itself.",
        ),
        Mistake(
            loss_on_other_noise,
            "The function draws noise of its own, and leaves the argument `noise` unused.",
        ),
    ),
    hints=(
        "Two lines: make x_t, as in notebook 01; then compare the network's answer to it with what you put in.",
        "F.mse_loss(guess, truth) is the mean squared error. The guess is model(x_t, t). What is the truth?",
    ),
)


# A training step

NUMBER, RATE = 4000, 0.1  # 4,000 items of 6 values, 24,000 random values


def step_cases():
    model = OneWeight()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    return [case(model, randn(NUMBER, 2, 3, seed=1), steep_schedule(), optimizer)]


def what_a_step_does(attempt, case):
    """What was drawn, by its moments; and the loss and the step less what they should be, given what was drawn."""
    model, x_0, schedule, _ = case.args
    model.weight.grad = torch.tensor(5.0)  # left over from a step before
    before = model.weight.item()
    value = call(attempt, case)
    if value is None and not model.calls:
        return None
    return drawn(model.calls, x_0, schedule) | taken(model, before, value, x_0, schedule)


def drawn(calls, x_0, schedule):
    t, noise = calls[-1][1], noise_in(calls[-1], x_0, schedule)
    spread = ((schedule.T**2 - 1) / 12 / len(x_0)) ** 0.5
    return {
        "calls of the network": len(calls),
        "the shape of t": str(tuple(t.shape)),
        "different levels in the batch": len(t.unique()),
        "the lowest t": int(t.min()),
        "the highest t": int(t.max()),
        "the mean of t": Approximately(t.double().mean().item(), 7 * spread),
        "the mean of the noise": Approximately(noise.mean().item(), 7 * noise.numel() ** -0.5),
        "the variance of the noise": Approximately(noise.var().item(), 7 * (2 / noise.numel()) ** 0.5),
        "images with the same noise": "none" if len(noise) < 2 or (noise[0] - noise[1]).abs().max() > 1e-3 else "all",
    }


def noise_in(call, x_0, schedule):
    """The noise in each x_t that has any."""
    x_t, t = call
    t = t.expand(len(x_t)) if t.numel() == 1 else t
    inside = (t >= 1) & (t <= schedule.T)
    a = schedule.alpha_bar[t[inside].long()].reshape(-1, 1, 1)
    return (x_t[inside].double() - a.sqrt() * x_0[inside].double()) / (1 - a).sqrt()


def taken(model, before, value, x_0, schedule):
    """Loss and step, less what they should be. Where no noise could be read, nothing is said about them."""
    x_t, t = model.calls[-1]
    kind = "a number" if isinstance(value, (int, float)) else type(value).__name__
    parts = {"what is returned": kind, "the loss, less the right one": 0.0, "the weight, less the right one": 0.0}
    noise = noise_in(model.calls[-1], x_0, schedule)
    if len(noise) < len(x_0) or (kind != "a number" and not isinstance(value, torch.Tensor)):
        return parts
    t = t.expand(len(x_t)) if t.numel() == 1 else t
    error = before * x_t.double() + 0.01 * t.reshape(-1, 1, 1) - noise
    gradient = (2 * error * x_t.double()).mean().item()
    parts["the loss, less the right one"] = float(value) - error.square().mean().item()
    parts["the weight, less the right one"] = model.weight.item() - (before - RATE * gradient)
    return parts


def step_with(
    levels=lambda x_0, T: torch.randint(1, T + 1, (len(x_0),)),
    noise_for=torch.randn_like,
    descend=lambda optimizer, loss: (optimizer.zero_grad(), loss.backward(), optimizer.step()),
    give=float,
):
    def attempt(model, x_0, schedule, optimizer):
        t, noise = levels(x_0, schedule.T), noise_for(x_0)
        x_t = add_noise(x_0, t.expand(len(x_0)) if t.numel() == 1 else t, noise, schedule) if t.min() > 0 else x_0
        loss = F.mse_loss(model(x_t, t), noise)
        descend(optimizer, loss)
        return give(loss.detach())

    return attempt


STEP = Exercise(
    name="training.training_step",
    notebook="04",
    finished=training_step,
    cases=step_cases,
    observe=what_a_step_does,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            step_with(levels=lambda x_0, T: torch.randint(1, T, (len(x_0),))),
            "The last level T is never drawn: randint leaves out its upper end. Sampling starts at T, where this "
            "network would never have been trained. It is randint(1, T + 1, ...).",
        ),
        Mistake(
            step_with(levels=lambda x_0, T: torch.randint(0, T, (len(x_0),))),
            "The levels are drawn from 0 to T - 1. Level 0 is the clean picture, which has no noise to learn from, and "
            "T, where sampling starts, is missing: randint(1, T + 1, ...).",
        ),
        Mistake(
            step_with(levels=lambda x_0, T: torch.randint(1, T + 1, (1,))),
            "The whole batch shares a single t. On average the gradient is right, but it is far noisier than need be: "
            "draw (len(x_0),) levels, one for each image.",
        ),
        Mistake(
            step_with(levels=lambda x_0, T: torch.randint(1, T + 1, (1,)).expand(len(x_0))),
            "One t was drawn and repeated for all images. On average the gradient is right, but it is far noisier than "
            "need be: draw (len(x_0),) levels, one for each image.",
        ),
        Mistake(
            step_with(noise_for=torch.rand_like),
            "The noise is uniform between 0 and 1: rand in place of randn. A sampler starts from normal noise, which "
            "this network would never have seen.",
        ),
        Mistake(
            step_with(noise_for=lambda x_0: torch.randn_like(x_0[:1]).expand_as(x_0).contiguous()),
            "All images of the batch get the same noise. Each needs its own: torch.randn_like(x_0).",
        ),
        Mistake(
            step_with(descend=lambda optimizer, loss: (loss.backward(), optimizer.step())),
            "The gradients of the step before are still there, and the new ones were added to them. "
            "optimizer.zero_grad() belongs before loss.backward().",
        ),
        Mistake(
            step_with(descend=lambda optimizer, loss: (optimizer.zero_grad(), loss.backward())),
            "The weights don't change. Either optimizer.step() is missing, or zero_grad() came after backward() and "
            "wiped out the gradients: the order is zero_grad, backward, step.",
        ),
        Mistake(
            step_with(give=lambda loss: loss),
            "The loss is returned as a tensor. Return a float, with .item(): a list of tensors would keep much more in "
            "memory than the numbers, and can't be printed or saved as one expects.",
        ),
    ),
    hints=(
        "First draw: a level for each image, an integer tensor of shape (len(x_0),) from 1 to T with both ends, and "
        "noise like x_0. Then the loss that you have just written.",
        "After the loss come optimizer.zero_grad(), loss.backward() and optimizer.step(); return loss.item().",
    ),
)


# The average of the weights


def small_network():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    for weight in model.parameters():
        nn.init.normal_(weight, generator=random(weight.numel()))
    return model


def ema_cases():
    return [case(small_network(), 0.999), case(small_network(), 0.3)]


def flat(tensors):
    return torch.cat([tensor.detach().flatten().double() for tensor in tensors])


def how_it_averages(attempt, case, updates=6):
    """The average after each of a few updates, and what else becomes of the two networks."""
    model = case.args[0]
    ema = call(attempt, case)
    averages, strayed = [flat(ema.model.parameters())], 0.0
    for number in range(updates):
        with torch.no_grad():
            for weight in model.parameters():
                weight += torch.randn(weight.shape, generator=random(number))
            model[1].running_mean += 1
        before = flat(model.parameters())
        ema.update(model)
        strayed = max(strayed, (flat(model.parameters()) - before).abs().max().item())
        averages.append(flat(ema.model.parameters()).clone())
    return {
        "the average is": "the network itself" if ema.model is model else "a copy",
        "how far an update changed the network in training": strayed,
        "the average after 0, 1, 2, ... updates": torch.stack(averages),
        "the copy's buffers": flat(buffer for buffer in ema.model.buffers() if buffer.is_floating_point()),
        "gradients on the copy": str(any(weight.requires_grad for weight in ema.model.parameters())),
        "updates": ema.updates,
    }


class FixedDecay(EMA):
    def __init__(self, model, decay=0.999):
        super().__init__(model, decay)

    @torch.no_grad()
    def update(self, model):
        self.average(model, self.share(), buffers=True)
        self.updates += 1

    def share(self):
        return self.decay

    def average(self, model, share, buffers):
        for average, weight in zip(self.model.parameters(), model.parameters(), strict=True):
            average.lerp_(weight, 1 - share)
        if buffers:
            for average, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
                average.copy_(buffer)


class WarmUp(FixedDecay):
    def share(self):
        return min(self.decay, (self.updates + 1) / (self.updates + 10))


class Swapped(WarmUp):
    def share(self):
        return 1 - super().share()


class CountsFromOne(WarmUp):
    def share(self):
        return min(self.decay, (self.updates + 2) / (self.updates + 11))


class LargerOfTheTwo(WarmUp):
    def share(self):
        return max(self.decay, (self.updates + 1) / (self.updates + 10))


class KeepsOldBuffers(WarmUp):
    @torch.no_grad()
    def update(self, model):
        self.average(model, self.share(), buffers=False)
        self.updates += 1


class SameNetwork(WarmUp):
    def __init__(self, model, decay=0.999):
        super().__init__(model, decay)
        self.model = model


class WithGradients(WarmUp):
    def __init__(self, model, decay=0.999):
        super().__init__(model, decay)
        self.model = copy.deepcopy(model)


class ForgetsToCount(WarmUp):
    @torch.no_grad()
    def update(self, model):
        self.average(model, self.share(), buffers=True)


AVERAGE = Exercise(
    name="training.EMA",
    notebook="04",
    finished=EMA,
    cases=ema_cases,
    observe=how_it_averages,
    mistakes=(
        Mistake(
            FixedDecay,
            "The decay is the same from the start. After a short run the average is then still full of the random "
            "start: let it grow, min(decay, (n + 1) / (n + 10)) after n updates.",
        ),
        Mistake(
            Swapped,
            "The two shares are swapped: the average keeps 1 - d of itself and takes d of the new weights, so it "
            "hardly averages at all. It should keep d.",
        ),
        Mistake(
            CountsFromOne,
            "n is one too large: before the first update there have been 0, so its decay is 1 / 10. Count after "
            "averaging, not before.",
        ),
        Mistake(
            LargerOfTheTwo,
            "The larger of the two decays is taken, so the growing one never counts. It is the smaller: min.",
        ),
        Mistake(
            KeepsOldBuffers,
            "The buffers, such as BatchNorm's running means, stay as they were in the beginning. Copy them at every "
            "update: averaged weights with buffers of a random network don't fit together.",
        ),
        Mistake(
            SameNetwork,
            "self.model is the network that is being trained, not a copy of it, so there is nothing to average. "
            "copy.deepcopy(model) makes one.",
        ),
        Mistake(
            WithGradients,
            "The copy still asks for gradients. Nobody trains it, so they only cost memory, and averaging in place "
            "would fail without no_grad: .requires_grad_(False).",
        ),
        Mistake(
            ForgetsToCount,
            "The updates are not counted, so every update has the decay of the first, 1 / 10: self.updates += 1 at the "
            "end of update.",
        ),
    ),
    hints=(
        "In __init__: a deep copy of the model, without gradients; the decay; and a counter that starts at 0. In "
        "update, first the decay for this update, then a loop over the two networks' parameters.",
        "average.lerp_(weight, 1 - d) does average <- d * average + (1 - d) * weight in place. Decorate update with "
        "@torch.no_grad(), copy the buffers as well, and count at the end.",
    ),
)


# Other weights for the levels


def min_snr_weight(t, schedule, limit):
    snr = schedule.snr[t]
    return snr.clamp(max=limit) / snr


def in_float64(attempt, case):
    weight = call(attempt, case)
    return weight.double() if isinstance(weight, torch.Tensor) else weight


def weight_with(formula):
    return lambda t, schedule, limit: formula(schedule.snr[t], schedule.alpha_bar[t], limit)


WEIGHT = Exercise(
    name="training.min_snr_weight",
    notebook="04",
    finished=min_snr_weight,
    cases=lambda: [
        case(torch.tensor([1, 3, 6, 9, 12]), steep_schedule(), 1.0),
        case(torch.arange(1, 13), steep_schedule(), 5.0),
    ],
    observe=in_float64,
    mistakes=(
        Mistake(
            weight_with(lambda snr, share, limit: snr.clamp(max=limit)),
            "This is min(SNR, limit), not yet divided by the SNR. It would be the factor for the error of the picture; "
            "for the error of the noise it has to be divided.",
        ),
        Mistake(
            weight_with(lambda snr, share, limit: snr.clamp(min=limit) / snr),
            "The larger of SNR and limit is taken: clamp(min=...) sets a floor. The smaller is wanted, a ceiling: "
            "clamp(max=limit).",
        ),
        Mistake(
            weight_with(lambda snr, share, limit: snr / snr.clamp(max=limit)),
            "The fraction is upside down, so the cleanest levels get the *largest* factors. They should get the "
            "smallest.",
        ),
        Mistake(
            weight_with(lambda snr, share, limit: share.clamp(max=limit) / share),
            "This is made of alpha_bar, which never exceeds 1. The SNR is alpha_bar / (1 - alpha_bar), schedule.snr.",
        ),
        Mistake(
            weight_with(lambda snr, share, limit: limit / snr),
            "The minimum is missing: where the SNR is below the limit, the factor should be exactly 1.",
        ),
    ),
    hints=(
        "Look up schedule.snr at t first. For which levels is the factor 1, and for which is it below?",
        "torch's .clamp(max=limit) takes the smaller of each value and the limit. Divide by the SNR itself.",
    ),
)

EXERCISES = (LOSS, STEP, AVERAGE, WEIGHT)
