"""Right answers to the exercises on editing, in other styles than the finished versions."""

import math
from itertools import pairwise

import torch

from course_utils.forward import add_noise
from course_utils.sampling import ddim_step, sample_steps


def sdedit_with_its_own_loop(denoise, x_0, path, strength, step=ddim_step, num_steps=50, generator=None):
    start = round(path.T * strength)
    if not start:
        return x_0.clone()
    noise = torch.randn(x_0.shape, generator=generator)
    x = path.signal_rate[start].item() * x_0 + path.noise_rate[start].item() * noise
    n = math.ceil(num_steps * start / path.T)
    for t, s in pairwise([round(start * (n - i) / n) for i in range(n + 1)]):
        x = step(x, denoise(x, t), t, s, path, generator=generator)
    return x


def sdedit_with_the_last_state(denoise, sketch, path, strength, step=ddim_step, num_steps=50, generator=None):
    top = round(strength * path.T)
    x = add_noise(sketch, top, torch.randn(sketch.shape, generator=generator), path)
    if top > 0:
        levels = torch.linspace(top, 0, math.ceil(num_steps * top / path.T) + 1).round().long().tolist()
        *_, (_, x, _) = sample_steps(denoise, x.shape, path, step, levels=levels, x_T=x, generator=generator)
    return x


def put_back_with_where(x_s, known, mask, s, path, generator=None):
    noise = torch.randn(x_s.shape, generator=generator)
    known_s = path.signal_rate[s].item() * known + path.noise_rate[s].item() * noise
    return torch.where(mask.bool(), known_s, x_s)


def put_back_in_place(x_s, known, mask, s, path, generator=None):
    known_s = add_noise(known.expand(x_s.shape).clone(), s, torch.randn(x_s.shape, generator=generator), path)
    out, here = x_s.clone(), mask.expand(x_s.shape) > 0.5
    out[here] = known_s[here]
    return out


def further_with_tensors(x_s, s, t, path, generator=None):
    r = path.signal_rate[t] / path.signal_rate[s]
    missing = (path.noise_rate[t].square() - (r * path.noise_rate[s]).square()).sqrt()
    return r.float() * x_s + missing.float() * torch.randn(x_s.shape, generator=generator)


def further_by_the_total(x, low, high, tables, generator=None):
    shrink = float(tables.signal_rate[high]) / float(tables.signal_rate[low])
    kept = shrink * float(tables.noise_rate[low])
    fresh = math.sqrt(float(tables.noise_rate[high]) ** 2 - kept * kept)
    return x.mul(shrink).add(torch.randn(x.shape, generator=generator), alpha=fresh)


def anagram_with_rot90(upright, upside_down):
    def denoise(x_t, t):
        other = torch.rot90(upside_down(torch.rot90(x_t, 2, (-2, -1)), t), 2, (-2, -1))
        return torch.lerp(upright(x_t, t), other, 0.5)

    return denoise


class AnagramAsAClass:
    def __init__(self, one, other):
        self.one, self.other = one, other

    def __call__(self, x, t):
        last = list(range(x.shape[-1]))[::-1], list(range(x.shape[-2]))[::-1]
        over = self.other(x[..., last[0]][..., last[1], :], t)[..., last[1], :][..., last[0]]
        return torch.stack([self.one(x, t), over]).mean(dim=0)


ANSWERS = {
    "editing.sdedit": [sdedit_with_its_own_loop, sdedit_with_the_last_state],
    "editing.put_back": [put_back_with_where, put_back_in_place],
    "editing.noise_further": [further_with_tensors, further_by_the_total],
    "editing.anagram": [anagram_with_rot90, AnagramAsAClass],
}
