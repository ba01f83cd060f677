"""The tests catch every deliberate mistake in `mutants.py`."""

from concurrent.futures import ThreadPoolExecutor

import mutants
import pytest


@pytest.fixture(scope="module")
def outcomes():
    with ThreadPoolExecutor(mutants.PROCESSES) as pool:
        # That all of their tests pass on the code as it is, the tests themselves show.
        futures = {"control": pool.submit(mutants.control, mutants.MUTANTS[:5])}
        futures |= {mutant.name: pool.submit(mutants.kill, mutant) for mutant in mutants.MUTANTS}
        yield futures
        pool.shutdown(cancel_futures=True)


def test_control_passes(outcomes):
    assert outcomes["control"].result() == mutants.SURVIVED


@pytest.mark.parametrize("name", [mutant.name for mutant in mutants.MUTANTS])
def test_mutant_is_killed(outcomes, name):
    assert outcomes[name].result() == mutants.KILLED


def test_mutant_that_raises_is_not_counted_as_killed():
    mutant = mutants.MUTANTS[0]._replace(new="undefined_name,")
    assert mutants.kill(mutant).startswith(mutants.BROKEN)


def test_text_that_does_not_occur_once_is_refused():
    mutant = mutants.MUTANTS[0]._replace(old="log_prob_tm1")
    with pytest.raises(ValueError, match=r"occurs \d+ times"):
        mutants.kill(mutant)
