"""Solvers that need fewer steps, for any path and any denoiser (notebook 10).

Without fresh noise, sampling follows an ODE: dx = x_0_hat d(signal_rate) + noise_hat d(noise_rate). Euler's method for
it is `ddim_step` with eta = 0. These two look further than Euler. Both are made for one walk at a time.
"""

from collections.abc import Callable

from course_utils.forward import predict_noise
from course_utils.sampling import ddim_step


def heun_step(denoise: Callable):
    """A step that averages the slope where it starts and the slope where Euler's step ends: the trapezoid rule.

    x_s = x_t + (signal_s - signal_t) (x_0_hat_t + x_0_hat_s) / 2 + (noise_s - noise_t) (noise_hat_t + noise_hat_s) / 2
    (EDM, arXiv 2206.00364, algorithm 1, in our two rates). It calls `denoise` once more, at s. The step to s = 0 is
    Euler's, because there is no noise to read at 0. So N steps take 2 N - 1 calls. Its error falls as 1 / N^2.
    """

    def step(x_t, x_0_hat, t, s, path, generator=None):
        euler = ddim_step(x_t, x_0_hat, t, s, path)
        if s == 0:
            return euler
        x_0_hat_s = denoise(euler, s)
        noise_hat, noise_hat_s = predict_noise(x_t, t, x_0_hat, path), predict_noise(euler, s, x_0_hat_s, path)
        signal_change = (path.signal_rate[s] - path.signal_rate[t]).item()
        noise_change = (path.noise_rate[s] - path.noise_rate[t]).item()
        return x_t + signal_change * (x_0_hat + x_0_hat_s) / 2 + noise_change * (noise_hat + noise_hat_s) / 2

    return step


def dpm_solver_2m():
    """A step that extrapolates x_0_hat from the step before: DPM-Solver++(2M) (arXiv 2211.01095, algorithm 2).

    With lambda = log(signal_rate / noise_rate), u the level before t, and r = (lambda_t - lambda_u) /
    (lambda_s - lambda_t), it is a DDIM step with x_0_hat_t + (x_0_hat_t - x_0_hat_u) / (2 r) in place of x_0_hat. The
    first step and the step to s = 0 are plain DDIM. One call of the network a step; the error falls as 1 / N^2. The
    step remembers x_0_hat until the next one; it forgets it when a new walk begins.
    """
    last = None, None, None  # where the last step began and ended, and its x_0_hat

    def step(x_t, x_0_hat, t, s, path, generator=None):
        nonlocal last
        u, ended, x_0_hat_u = last
        last = t, s, x_0_hat
        if ended != t or s == 0:
            return ddim_step(x_t, x_0_hat, t, s, path)
        half_log_snr = path.log_snr[[u, t, s]] / 2
        to_t, to_s = half_log_snr.diff().tolist()
        return ddim_step(x_t, x_0_hat + (x_0_hat - x_0_hat_u) * to_s / (2 * to_t), t, s, path)

    return step
