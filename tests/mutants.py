"""Deliberate mistakes, each of which the tests must catch: `python tests/mutants.py`.

A mutant replaces one piece of the source in a copy of the package, and runs a few tests on the
copy. It is killed if a test fails by assertion. A mutant that survives shows a mistake that the
tests would let pass; one that breaks (no import, an exception) shows nothing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
COPY_VARIABLE = "EXPEDITION_MUTANT_COPY"
PROCESSES = 2
TIMEOUT_S = 280

KILLED, SURVIVED, BROKEN = "killed", "survived", "broken"
OUTCOMES = {pytest.ExitCode.OK: SURVIVED, pytest.ExitCode.TESTS_FAILED: KILLED}

DEFINITION = "tests/losses/test_vtrace_definition.py"
BOUNDARIES = "tests/losses/test_vtrace_boundaries.py"
ACTOR_CRITIC = "tests/losses/test_actor_critic.py"
POLICY_GRADIENT = "tests/losses/test_policy_gradient.py"
AGENT = "tests/agents/test_impala.py"
EXACT_ZERO = "tests/runtime/test_exact_zero.py"


class Mutant(NamedTuple):
    """One mistake and the tests that must catch it."""

    name: str
    file: str  # relative to src/
    old: str  # occurs exactly once in the file
    new: str
    tests: tuple[str, ...]  # pytest node ids


MUTANTS = [
    Mutant(
        "behaviour and target policy swapped",
        "losses/impala.py",
        "log_prob_tm1 - behaviour_log_prob_tm1,",
        "behaviour_log_prob_tm1 - log_prob_tm1,",
        (f"{ACTOR_CRITIC}::test_impala_equals_its_closed_form",),
    ),
    Mutant(
        "last step dropped",
        "losses/vtrace.py",
        "delta_t = rho_tm1 * (r_t + discount_t * v_t - value)",
        "delta_t = (rho_tm1 * (r_t + discount_t * v_t - value)).at[-1].set(0)",
        (DEFINITION,),
    ),
    Mutant(
        "bootstrap doubled in the advantages",
        "losses/vtrace.py",
        "jnp.zeros_like(acc_tm1[:1])",
        "v_t[-1:]",
        (DEFINITION,),
    ),
    Mutant(
        "bootstrap doubled in the returns",
        "losses/policy_gradient.py",
        "r_t + discount_t * (1 - continuation_t) * v_t",
        "r_t + discount_t * (1 - continuation_t) * 2 * v_t",
        (f"{POLICY_GRADIENT}::test_return_equals_its_definition",),
    ),
    Mutant(
        "recurrence starts from the last row instead of zero",
        "losses/recurrence.py",
        "jnp.zeros_like(x[0])",
        "x[-1]",
        (DEFINITION,),
    ),
    Mutant(
        "c in place of rho",
        "losses/vtrace.py",
        "delta_t = rho_tm1 *",
        "delta_t = c_tm1 *",
        (DEFINITION,),
    ),
    Mutant(
        "rho not clipped",
        "losses/vtrace.py",
        "rho_tm1 = _clipped_ratio(log_rho_tm1, rho_bar)",
        "rho_tm1 = jnp.exp(log_rho_tm1)",
        (DEFINITION,),
    ),
    Mutant(
        "advantages clipped at rho_bar",
        "losses/vtrace.py",
        "_clipped_ratio(log_rho_tm1, rho_bar_pg)",
        "_clipped_ratio(log_rho_tm1, rho_bar)",
        (DEFINITION,),
    ),
    Mutant(
        "lambda ignored",
        "losses/vtrace.py",
        "c_tm1 = lambda_ * ",
        "c_tm1 = ",
        (DEFINITION,),
    ),
    Mutant(
        "targets leak over a truncation",
        "losses/vtrace.py",
        "_clipped_ratio(log_rho_tm1, c_bar) * continuation_t",
        "_clipped_ratio(log_rho_tm1, c_bar)",
        (BOUNDARIES,),
    ),
    Mutant(
        "advantages leak over a truncation",
        "losses/vtrace.py",
        "jnp.where(discount_t * continuation_t == 0, 0, acc_t)  # a selection also stops NaN\n"
        "    corrected_v_t = v_t + continuation_t * acc_t",
        "jnp.where(discount_t == 0, 0, acc_t)\n    corrected_v_t = v_t + acc_t",
        (BOUNDARIES,),
    ),
    Mutant(
        "returns leak over a truncation",
        "losses/policy_gradient.py",
        "discount_t * continuation_t)\n",
        "discount_t)\n",
        (f"{POLICY_GRADIENT}::test_return_equals_its_definition",),
    ),
    Mutant(
        "advantage from the uncorrected value",
        "losses/vtrace.py",
        "discount_t * corrected_v_t",
        "discount_t * v_t",
        (DEFINITION,),
    ),
    Mutant(
        "entropy penalised",
        "losses/actor_critic.py",
        "* value - entropy_cost * entropy",
        "* value + entropy_cost * entropy",
        (f"{ACTOR_CRITIC}::test_a_step_on_the_entropy_term_raises_entropy",),
    ),
    Mutant(
        "policy gradient descends",
        "losses/policy_gradient.py",
        "return -log_prob *",
        "return log_prob *",
        (f"{ACTOR_CRITIC}::test_a_step_on_the_policy_term_follows_the_reward",),
    ),
    Mutant(
        "gradient through the value target",
        "losses/actor_critic.py",
        "jax.lax.stop_gradient(target) - value",
        "target - value",
        (f"{POLICY_GRADIENT}::test_value_loss",),
    ),
    Mutant(
        "mean over the rows that are not masked",
        "losses/rows.py",
        "total / loss.size",
        "total / jnp.sum(weight)",
        (f"{ACTOR_CRITIC}::test_mean_of_shards_is_the_mean_of_the_batch",),
    ),
    Mutant(
        "agent swaps behaviour and target policy",
        "agents/impala.py",
        "            log_prob,\n            batch.extras.log_prob,",
        "            batch.extras.log_prob,\n            log_prob,",
        (f"{AGENT}::test_the_update_minimises_the_loss_of_the_definition",),
    ),
    Mutant(
        "agent lets traces run across episodes",
        "agents/impala.py",
        "continuation_t=batch.continues.astype(reward.dtype)",
        "continuation_t=None",
        (f"{AGENT}::test_the_update_minimises_the_loss_of_the_definition",),
    ),
    Mutant(
        "agent learns from rows that restart an episode",
        "agents/impala.py",
        "weight_tm1=batch.is_transition.astype(reward.dtype)",
        "weight_tm1=None",
        (f"{AGENT}::test_the_row_that_restarts_an_episode_changes_nothing",),
    ),
    Mutant(
        "agent takes a truncation for a termination",
        "agents/impala.py",
        "config.discount * batch.discount,",
        "config.discount * batch.discount * batch.continues,",
        (f"{AGENT}::test_the_update_minimises_the_loss_of_the_definition",),
    ),
    Mutant(
        "sums over devices averaged",
        "agents/impala.py",
        'jax.lax.psum if config.reduction == "sum" else jax.lax.pmean',
        "jax.lax.pmean",
        ("tests/runtime/test_learner_devices.py::test_update_is_the_same_on_1_2_4_and_8_devices",),
    ),
    Mutant(
        "actor records what an action caused a step late",
        "runtime/actor.py",
        "self._record(trajectory, t, action, extras, timestep)",
        "self._record(trajectory, t, action, extras, self._timestep)",
        (f"{EXACT_ZERO}::test_the_batch_that_is_shifted_is_exact",),
    ),
    Mutant(
        "recurrent state carried into the next episode",
        "networks/cores.py",
        "jnp.where(reset[:, None], 0.0, s)",
        "s",
        ("tests/runtime/test_recurrent_replay.py", "tests/networks/test_networks_cores.py"),
    ),
]


def kill(mutant: Mutant) -> str:
    """Runs a mutant's tests on a mutated copy of the package: "killed", "survived", "broken"."""
    return _run(mutant.tests, mutant)


def control() -> str:
    """Runs all mutants' tests on an unmutated copy, where they must pass: "survived"."""
    return _run(sorted({test for mutant in MUTANTS for test in mutant.tests}), None)


def _run(tests, mutant):
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "expedition"
        shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__"))
        if mutant:
            _mutate(copy / mutant.file, mutant)
        paths = [directory, str(Path(__file__).parent)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), COPY_VARIABLE: directory}
        options = ["-x", "-q", "-p", "mutants", "-p", "no:cacheprovider"]
        process = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *tests],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
    outcome = OUTCOMES.get(process.returncode, BROKEN)
    return outcome if outcome != BROKEN else f"{BROKEN}:\n{process.stdout}{process.stderr}"


def _mutate(path, mutant):
    source = path.read_text()
    count = source.count(mutant.old)
    if count != 1:
        raise ValueError(f"{mutant.name}: {mutant.old!r} occurs {count} times in {mutant.file}.")
    path.write_text(source.replace(mutant.old, mutant.new))


def pytest_configure():
    """As a plugin of the tests of a copy: refuses to run them on any other package."""
    import expedition

    if not Path(expedition.__file__).is_relative_to(os.environ[COPY_VARIABLE]):
        pytest.exit(f"imported {expedition.__file__}, not the copy", pytest.ExitCode.USAGE_ERROR)


def pytest_exception_interact(call):
    """As a plugin of the tests of a copy: only a failed assertion counts as a failed test."""
    if not isinstance(call.excinfo.value, AssertionError | pytest.fail.Exception):
        pytest.exit(f"not an assertion: {call.excinfo!r}", pytest.ExitCode.INTERNAL_ERROR)


def main() -> int:
    """Prints each mutant's outcome; returns 1 if one is not killed or the control fails."""
    with ThreadPoolExecutor(PROCESSES) as pool:
        control_outcome = pool.submit(control)
        outcomes = list(pool.map(kill, MUTANTS))
    for mutant, outcome in zip(MUTANTS, outcomes, strict=True):
        print(f"{mutant.name:54} {mutant.file:28} {outcome}")
    print(f"{'control: no mutation':83} {control_outcome.result()}")
    alive = [outcome for outcome in outcomes if outcome != KILLED]
    return int(bool(alive) or control_outcome.result() != SURVIVED)


if __name__ == "__main__":
    sys.exit(main())
