"""Trajectories with boundaries, and V-trace from its definition: the sum, not the recursion."""

from typing import NamedTuple

import numpy as np


class Rows(NamedTuple):
    """The arguments of V-trace; [T, ...] each, float64."""

    v_tm1: np.ndarray
    v_t: np.ndarray
    r_t: np.ndarray
    discount_t: np.ndarray
    log_rho_tm1: np.ndarray
    continuation_t: np.ndarray


class Thresholds(NamedTuple):
    """V-trace's hyperparameters, all different, so that exchanging two of them fails."""

    lambda_: float = 0.9
    rho_bar: float = 1.3
    c_bar: float = 0.8
    rho_bar_pg: float = 1.1


def random_rows(seed, shape, gamma=0.9, boundaries=0.15):
    """Off-policy rows with terminations, truncations and a non-zero bootstrap."""
    rng = np.random.default_rng(seed)
    v_tm1, r_t, bootstrap, v_final = rng.normal(size=(4, *shape))
    terminated, truncated = rng.random((2, *shape)) < boundaries
    v_t = np.concatenate([v_tm1[1:], bootstrap[:1]])
    return Rows(
        v_tm1=v_tm1,
        v_t=np.where(terminated | truncated, v_final, v_t),
        r_t=r_t,
        discount_t=np.where(terminated, 0.0, gamma),
        log_rho_tm1=rng.normal(scale=0.7, size=shape),
        continuation_t=np.where(truncated, 0.0, 1.0),
    )


def vtrace_from_definition(rows, thresholds):
    """Targets and advantages, one double loop per batch column."""
    shape = rows.v_tm1.shape
    columns = zip(*(x.reshape(len(x), -1).T for x in rows), strict=True)
    results = np.array([_column(Rows(*column), thresholds) for column in columns])
    return tuple(np.moveaxis(results, 0, -1).reshape(2, *shape))


def _column(rows, thresholds):
    ratio = np.exp(rows.log_rho_tm1)
    rho = np.minimum(thresholds.rho_bar, ratio)
    c = thresholds.lambda_ * np.minimum(thresholds.c_bar, ratio)
    delta = rho * (rows.r_t + rows.discount_t * rows.v_t - rows.v_tm1)
    steps = len(ratio)

    targets = rows.v_tm1.copy()
    for s in range(steps):
        for t in range(s, steps):
            targets[s] += np.prod(rows.discount_t[s:t]) * np.prod(c[s:t]) * delta[t]
            if rows.continuation_t[t] == 0:
                break

    advantages = np.empty(steps)
    for s in range(steps):
        is_last = s == steps - 1 or rows.continuation_t[s] == 0
        v_next = rows.v_t[s] if is_last else targets[s + 1]
        ratio_pg = min(thresholds.rho_bar_pg, ratio[s])
        advantages[s] = ratio_pg * (rows.r_t[s] + rows.discount_t[s] * v_next - rows.v_tm1[s])
    return targets, advantages
