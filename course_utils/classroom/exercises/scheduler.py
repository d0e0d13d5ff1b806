"""The exercise on a bug that can't be seen (notebook 05)."""

import torch

from course_utils.classroom.exercises.cases import SHAPE, two
from course_utils.classroom.exercises.chance import BIG, approximately
from course_utils.classroom.exercises.record import Exercise, Mistake, call, case


class OnePageScheduler:
    def __init__(self, T=1000, beta_1=1e-4, beta_T=0.02):
        self.T = T  # the timesteps are 0 .. T - 1
        self.beta = torch.linspace(beta_1, beta_T, T, dtype=torch.float64)
        self.alpha = 1 - self.beta
        self.alpha_bar = self.alpha.cumprod(dim=0)

    def add_noise(self, x_0, noise, t):
        alpha_bar = self.alpha_bar[t].to(x_0.dtype).reshape(-1, *[1] * (x_0.ndim - 1))
        return alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * noise

    def alpha_bar_before(self, t):
        return self.alpha_bar[t - 1] if t > 0 else torch.ones((), dtype=torch.float64)

    def variance(self, t):
        return self.beta[t] * (1 - self.alpha_bar_before(t)) / (1 - self.alpha_bar[t])

    def mean(self, noise_hat, t, x_t):
        x_0_hat = (x_t - (1 - self.alpha_bar[t]).sqrt() * noise_hat) / self.alpha_bar[t].sqrt()
        x_0_share = self.alpha_bar_before(t).sqrt() * self.beta[t] / (1 - self.alpha_bar[t])
        x_t_share = self.alpha[t].sqrt() * (1 - self.alpha_bar_before(t)) / (1 - self.alpha_bar[t])
        return x_0_share * x_0_hat + x_t_share * x_t

    def step(self, noise_hat, t, x_t):
        return self.mean(noise_hat, t, x_t) + self.variance(t).sqrt() * torch.randn_like(x_t)


def what_a_scheduler_does(attempt, case):
    scheduler = call(attempt, case)
    T = case.args[0]
    x, noise = two(*SHAPE, seed=T)
    found = {"add_noise": scheduler.add_noise(x, noise, torch.tensor([0, T - 1, 2, 1]))}
    for t in (0, 1, 3, T - 1):
        found[f"mean at t = {t}"] = scheduler.mean(noise.clone(), t, x.clone())
    found["mean of float64 at t = 2"] = scheduler.mean(noise.double(), 2, x.double())
    for t in (0, 1, T - 1):
        found[f"variance at t = {t}"] = float(scheduler.variance(t))
    for t in (0, 1, 2, T - 1):
        x_s = scheduler.step(torch.full(BIG, 2.0), t, torch.full(BIG, 5.0)).double()
        variance, count = x_s.var(), x_s.numel()
        found[f"average of step at t = {t}"] = approximately(x_s.mean(), (variance / count).sqrt() + 1e-5)
        found[f"variance of step at t = {t}"] = approximately(variance, variance * (2 / count) ** 0.5)
    return found


def right_x_0_share(self, t):
    return self.alpha_bar_before(t).sqrt() * self.beta[t] / (1 - self.alpha_bar[t])


def x_0_share_as_given(self, t):
    return self.alpha_bar[t].sqrt() * self.beta[t] / (1 - self.alpha_bar[t])


def right_x_t_share(self, t):
    return self.alpha[t].sqrt() * (1 - self.alpha_bar_before(t)) / (1 - self.alpha_bar[t])


def scheduler_with(x_0_share=right_x_0_share, x_t_share=right_x_t_share, level_of_x_0_hat=None, **methods):
    """The scheduler with some of its methods, or some parts of its mean, replaced."""

    def mean(self, noise_hat, t, x_t):
        alpha_bar = self.alpha_bar[t] if level_of_x_0_hat is None else level_of_x_0_hat(self, t)
        x_0_hat = (x_t - (1 - alpha_bar).sqrt() * noise_hat) / alpha_bar.sqrt()
        return x_0_share(self, t) * x_0_hat + x_t_share(self, t) * x_t

    return type("OnePageScheduler", (OnePageScheduler,), {"mean": mean} | methods)


def beta_as_variance(self, t):
    return self.beta[t]


def beta_but_not_at_the_end(self, t):
    return self.beta[t] if t > 0 else torch.zeros((), dtype=torch.float64)


def never_below_0(self, t):
    return self.alpha_bar[max(t - 1, 0)]


ONE_PAGE_SCHEDULER = Exercise(
    name="sampling.OnePageScheduler",
    notebook="05",
    finished=OnePageScheduler,
    given=scheduler_with(x_0_share=x_0_share_as_given),
    cases=lambda: [case(12, 0.05, 0.4), case(7, 0.1, 0.1), case(20, beta_1=0.02, beta_T=0.3)],
    observe=what_a_scheduler_does,
    by_chance=True,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            scheduler_with(x_0_share=x_0_share_as_given, variance=beta_as_variance),
            "You changed the variance, but the bug is somewhere else. For N(0, 1) the final variance is 0.991 again, "
            "but only by accident: one error makes up for the other. And now the last step adds noise. Look at the "
            "mean.",
        ),
        Mistake(
            scheduler_with(x_0_share=x_0_share_as_given, variance=beta_but_not_at_the_end),
            "You changed the variance, but that is not where the bug is. For N(0, 1) the final variance is 0.991 "
            "again, but only by accident: more noise makes up for a picture that is too faint. Look at the mean.",
        ),
        Mistake(
            scheduler_with(variance=beta_as_variance),
            "You fixed the mean. But you also changed the variance to that of the forward step, and now the last step "
            "adds noise. The posterior's variance, as it was, is right.",
        ),
        Mistake(
            scheduler_with(
                x_0_share=x_0_share_as_given,
                x_t_share=lambda self, t: self.alpha[t].sqrt(),
            ),
            "You changed the share of `x_t` to use level t throughout, but it was right before: at `t = 0` it has to "
            "be 0. The bug is in the other share.",
        ),
        Mistake(
            scheduler_with(
                x_0_share=lambda self, t: self.alpha_bar[t + 1].sqrt() * self.beta[t] / (1 - self.alpha_bar[t])
            ),
            "You have found the place, but the index goes the wrong way: `t + 1` is the noisier neighbour (and "
            "`T - 1` has none). The step goes to the level before t.",
        ),
        Mistake(
            scheduler_with(
                x_0_share=lambda self, t: self.alpha_bar[t - 1].sqrt() * self.beta[t] / (1 - self.alpha_bar[t])
            ),
            "This is right for every t but 0. There `t - 1` is -1, and Python takes the *last* entry of the table, "
            "which is almost 0. The last step would wipe out the picture. What is `alpha_bar` before the first noise?",
        ),
        Mistake(
            scheduler_with(alpha_bar_before=never_below_0),
            "Now `alpha_bar_before(0)` is `alpha_bar[0]`, as if level 0 came before level 0. So the last step leaves "
            "some `x_t` in the picture and adds noise. What comes before the first noise is clean: `alpha_bar = 1`.",
        ),
        Mistake(
            scheduler_with(x_0_share=lambda self, t: self.alpha_bar_before(t) * self.beta[t] / (1 - self.alpha_bar[t])),
            "You have found the place and the level, but lost the square root: `x_s` holds `sqrt(alpha_bar_s)` of the "
            "picture. `alpha_bar` itself is a share of the variance.",
        ),
        Mistake(
            scheduler_with(level_of_x_0_hat=lambda self, t: self.alpha_bar_before(t)),
            "You fixed the share of `x_0_hat`, but `x_0_hat` itself is now worked out with the level before t. That "
            "line takes `x_t` apart, and `x_t` is at level t.",
        ),
        Mistake(
            scheduler_with(
                x_0_share=lambda self, t: (
                    self.alpha_bar_before(t).sqrt() * self.beta[t] / (1 - self.alpha_bar_before(t))
                )
            ),
            "You fixed the root, but changed the denominator with it. `1 - alpha_bar_t` below the line was right: at "
            "`t = 0` this divides by 0.",
        ),
    ),
    hints=(
        "You can't find this one by eye, so find data for which you know what has to come out. For data from N(0, 1) "
        "the perfect prediction of the noise is `noise_hat = sqrt(1 - alpha_bar_t) * x_t`. Follow the variance from 1 "
        "down through all T steps, as `final_variance` does: multiply it by the square of what `mean` makes of "
        "`x_t = 1`, and add `variance`. A correct scheduler ends at 0.991. This one does not.",
        "Which method is it? Try the last step alone: at `t = 0` there is no noise left to keep, so `mean` must "
        "return the predicted picture exactly. Build `OnePageScheduler(10, 0.1, 0.5)`, where errors are large. Make "
        "`x_t` with `add_noise`, from a picture and noise that you choose, and give `mean` that same noise. Does the "
        "picture come back?",
        "It comes back too faint, by `sqrt(alpha_0)`. So the share of `x_0_hat` is too small. Compare it with the "
        "mean from the notebook: `x_s` holds the picture with a factor that belongs to level s, the one before t.",
    ),
)
