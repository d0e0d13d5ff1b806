"""Right answers to the exercises on what a network is asked for, in other styles than the finished versions."""

import torch

from course_utils.forward import add_noise, predict_noise
from course_utils.predictions import V
from course_utils.sampling import ddim_step
from course_utils.schedule import at, rates


def x_0_by_the_package(x, t, v, tables):
    return V.x_0(x, t, v, tables)


def x_0_in_float64(x_t, level, answer, path):
    a, b = rates(path, level, x_t)
    size = torch.hypot(a, b)
    return ((a / size * x_t.double() - b / size * answer.double()) / size).to(x_t.dtype)


def x_0_by_linear_equations(x_t, t, output, path):
    """Two equations with two unknowns, by Cramer's rule."""
    a, b = at(path.signal_rate, t, x_t), at(path.noise_rate, t, x_t)
    return (x_t * a - b * output) / (a * a - b * -b)


class Converted:
    def __init__(self, model, path, answers, wanted):
        self.ask, self.path, self.read, self.say = model, path, answers.x_0, wanted.target

    def __call__(self, x, t):
        picture = self.read(x, t, self.ask(x, t), self.path)
        return self.say(picture, predict_noise(x, t, picture, self.path), t, self.path)


def converted_by_hand(network, tables, before, after):
    def model(x, t):
        shape = -1, *[1] * (x.ndim - 1)
        a, b = (table[t].to(x.dtype).reshape(shape) for table in (tables.signal_rate, tables.noise_rate))
        clean = before.x_0(x, t, network(x, t), tables)
        return after.target(clean, (x - a * clean) / b, t, tables)

    return model


def v_weight_from_the_noises_share(path):
    a, b = path.signal_rate, path.noise_rate
    return (a + b * b / a).square()


def v_weight_measured(path):
    """v of two guesses that differ by 1 in the noise, at every level."""
    t, x_t, noise = torch.arange(path.T + 1), torch.zeros(path.T + 1, 1, dtype=torch.float64), 1.0
    a, b = at(path.signal_rate, t, x_t), at(path.noise_rate, t, x_t)
    return (a * noise - b * (-b / a * noise)).square()[:, 0]


def home_by_its_noise(x_t, t, score, path):
    noise = -at(path.noise_rate, t, x_t) * score
    return (x_t - at(path.noise_rate, t, x_t) * noise) / at(path.signal_rate, t, x_t)


def home_in_two_lines(x, level, gradient, tables):
    x = x + at(tables.noise_rate.square(), level, x) * gradient
    return x / at(tables.signal_rate, level, x)


def flow_by_ddim(x_t, velocity, t, s, path):
    x_0_hat = x_t - t / path.T * velocity
    return ddim_step(x_t, x_0_hat, t, s, path)


def flow_by_the_rates(x, u, t, s, path):
    return x + (path.noise_rate[s] - path.noise_rate[t]).item() * u


def flow_by_noising_again(x_t, velocity, t, s, path):
    x_0 = x_t - t / path.T * velocity
    return add_noise(x_0, s, x_0 + velocity, path)


def trains_level_by_level(network, mine, other):
    """Counting the levels that still have more signal, one picture at a time."""

    def model(x, t):
        levels = []
        for level in t.tolist():
            above = [snr > other.log_snr[level] for snr in mine.log_snr]
            levels.append(min(max(sum(above), 1), mine.T))
        shape = -1, *[1] * (x.ndim - 1)
        size = torch.hypot(other.signal_rate[t], other.noise_rate[t]).to(x.dtype).reshape(shape)
        return network(x / size, torch.tensor(levels))

    return model


class Passenger:
    def __init__(self, model, own, path):
        self.model, self.own, self.path = model, own, path

    def __call__(self, x_t, t):
        a, b = at(self.path.signal_rate, t, x_t), at(self.path.noise_rate, t, x_t)
        level = (self.own.snr[None] > self.path.snr[t][:, None]).sum(dim=1).clamp(1, self.own.T)
        return self.model(x_t * (a * a + b * b).rsqrt(), level)


ANSWERS = {
    "predictions.x_0_from_v": [x_0_by_the_package, x_0_in_float64, x_0_by_linear_equations],
    "predicting.converted": [Converted, converted_by_hand],
    "predicting.v_weight": [v_weight_from_the_noises_share, v_weight_measured],
    "predicting.x_0_from_score": [home_by_its_noise, home_in_two_lines],
    "predicting.flow_step": [flow_by_ddim, flow_by_the_rates, flow_by_noising_again],
    "predicting.change_trains": [trains_level_by_level, Passenger],
}
