"""Right answers to the exercises on guidance, in other styles than the finished versions."""

import torch

from course_utils.predictions import score


def gradient_by_two_scores(told, untold, t, path):
    x_t = torch.zeros_like(told)  # it doesn't matter where
    return score(x_t, t, told, path) - score(x_t, t, untold, path)


def gradient_with_plain_numbers(first, second, level, tables):
    signal, variance = tables.signal_rate[level].item(), 1 - tables.signal_rate[level].item() ** 2
    out = first.clone()
    out -= second
    return out.mul_(signal).div_(variance)


def guided_with_weights(conditional, unconditional, scale, levels=None):
    def combined(x, t):
        s = 1 if levels is not None and t not in list(levels) else scale
        return (1 - s) * unconditional(x, t) + s * conditional(x, t)

    return combined


class GuidedAsAClass:
    def __init__(self, yes, no, scale, levels=None):
        self.yes, self.no, self.scale, self.levels = yes, no, scale, levels

    def __call__(self, x_t, t):
        if self.levels is None or any(t == level for level in self.levels):
            return torch.lerp(self.no(x_t, t), self.yes(x_t, t), float(self.scale))
        return self.yes(x_t, t)


def withhold_by_bernoulli(condition, share, null, generator):
    hidden = torch.bernoulli(torch.full(condition.shape, float(share)), generator=generator).bool()
    return condition.masked_fill(hidden, null)


def withhold_one_by_one(labels, share, null, generator):
    draws = torch.rand(len(labels), generator=generator).tolist()
    return torch.tensor([null if draw < share else label for draw, label in zip(draws, labels.tolist(), strict=True)])


def withhold_the_right_number(condition, share, null, generator):
    out = condition.clone()
    order = torch.randperm(len(out), generator=generator)
    out[order[: round(share * len(out))]] = null
    return out


ANSWERS = {
    "guidance.classifier_gradient": [gradient_by_two_scores, gradient_with_plain_numbers],
    "guidance.guided": [guided_with_weights, GuidedAsAClass],
    "training.withhold": [withhold_by_bernoulli, withhold_one_by_one, withhold_the_right_number],
}
