"""V-trace, forward and as loss with gradient, beside rlax in the same run."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from expedition.losses import categorical, impala_loss, vtrace

SHAPES = ((20, 32), (80, 32), (20, 1024), (1000, 128))
NUM_ACTIONS = 18
WINDOWS = 7


class Timing(NamedTuple):
    """Seconds a call, over the windows."""

    median: float
    spread: float  # largest less smallest


def time_pair(first: Callable[..., Any], second: Callable[..., Any], *arguments: Any) -> list:
    """Times two jitted functions in turn, so that the machine's drift hits both."""
    functions = [jax.jit(first), jax.jit(second)]
    for function in functions:
        jax.block_until_ready(function(*arguments))
    calls = max(3, int(0.05 / _seconds(functions[0], arguments, 3)))
    windows = [[_seconds(f, arguments, calls) for f in functions] for _ in range(WINDOWS)]
    return [
        Timing(statistics.median(seconds), max(seconds) - min(seconds))
        for seconds in zip(*windows, strict=True)
    ]


def _seconds(function: Callable[..., Any], arguments: Any, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        result = function(*arguments)
    jax.block_until_ready(result)
    return (time.perf_counter() - start) / calls


def inputs(length: int, batch: int) -> dict[str, jax.Array]:
    """Random trajectories."""
    keys = iter(jax.random.split(jax.random.key(0), 6))
    shape = (length, batch)
    return {
        "logits": jax.random.normal(next(keys), (*shape, NUM_ACTIONS)),
        "behaviour_logits": jax.random.normal(next(keys), (*shape, NUM_ACTIONS)),
        "action": jax.random.randint(next(keys), shape, 0, NUM_ACTIONS),
        "values": jax.random.normal(next(keys), (length + 1, batch)),
        "reward": jax.random.normal(next(keys), shape),
        "discount": jnp.where(jax.random.uniform(next(keys), shape) < 0.01, 0.0, 0.99),
    }


def our_targets(data: dict[str, jax.Array]) -> Any:
    """What rlax gives: errors, advantages and action values, from given log-ratios."""
    values = data["values"]
    out = vtrace(
        values[:-1], values[1:], data["reward"], data["discount"], data["behaviour_logits"][..., 0]
    )
    return out.errors, out.advantages, out.action_values


def rlax_targets(data: dict[str, jax.Array]) -> Any:
    """The same by rlax, vmapped over the batch."""
    import rlax  # not with the module: ours alone is counted too, and rlax warns

    values, rho = data["values"], jnp.exp(data["behaviour_logits"][..., 0])
    function = jax.vmap(rlax.vtrace_td_error_and_advantage, in_axes=1, out_axes=1)
    return function(values[:-1], values[1:], data["reward"], data["discount"], rho)


def our_loss(params: tuple[jax.Array, jax.Array], data: dict[str, jax.Array]) -> jax.Array:
    """The IMPALA loss."""
    logits, values = params
    return impala_loss(
        categorical.log_prob(logits, data["action"]),
        categorical.log_prob(data["behaviour_logits"], data["action"]),
        categorical.entropy(logits),
        values[:-1],
        values[1:],
        data["reward"],
        data["discount"],
    ).total


def rlax_loss(params: tuple[jax.Array, jax.Array], data: dict[str, jax.Array]) -> jax.Array:
    """The same loss composed of rlax's pieces."""
    import rlax  # not with the module: ours alone is counted too, and rlax warns

    logits, values = params
    batched = {"in_axes": 1, "out_axes": 1}
    rho = jax.vmap(rlax.categorical_importance_sampling_ratios, **batched)(
        logits, data["behaviour_logits"], data["action"]
    )
    out = jax.vmap(rlax.vtrace_td_error_and_advantage, **batched)(
        values[:-1], values[1:], data["reward"], data["discount"], rho
    )
    rows = jnp.ones_like(data["reward"])
    policy = jax.vmap(rlax.policy_gradient_loss, in_axes=1)(
        logits, data["action"], out.pg_advantage, rows
    )
    entropy = jax.vmap(rlax.entropy_loss, in_axes=1)(logits, rows)
    count = data["reward"].shape[0]
    value = 0.5 * jnp.sum(jnp.square(out.errors))
    return count * jnp.sum(policy + 0.01 * entropy) + 0.5 * value


def with_gradient(loss: Callable[..., jax.Array]) -> Callable[..., Any]:
    """The loss and its gradient in logits and values."""
    return lambda data: jax.value_and_grad(loss)((data["logits"], data["values"]), data)


def measure() -> list[dict[str, Any]]:
    """A row for each shape and function: microseconds a call, and rlax's time over ours."""
    rows = []
    for length, batch in SHAPES:
        data = inputs(length, batch)
        pairs = {
            "targets": (our_targets, rlax_targets),
            "loss and gradient": (with_gradient(our_loss), with_gradient(rlax_loss)),
        }
        for name, pair in pairs.items():
            ours, theirs = time_pair(*pair, data)
            rows.append(
                {
                    "what": f"V-trace {name}, T={length} B={batch}",
                    "ours_us": 1e6 * ours.median,
                    "spread_us": 1e6 * ours.spread,
                    "rlax_us": 1e6 * theirs.median,
                    "rlax_over_ours": theirs.median / ours.median,
                }
            )
    return rows
