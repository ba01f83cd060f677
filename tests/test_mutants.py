"""The tests catch every deliberate mistake in `mutants.py`."""

import mutants
import pytest


@pytest.fixture(scope="module")
def pool():
    with mutants.pool() as pool:
        yield pool


@pytest.fixture(scope="module")
def outcomes(pool, request):
    selected = {item.name for item in request.session.items}
    # That all of their tests pass on the code as it is, the tests themselves show.
    waited_for = {"control": pool.apply_async(mutants.control, [mutants.MUTANTS[:5]])}
    for mutant in mutants.MUTANTS:
        if f"test_mutant_is_killed[{mutant.name}]" in selected:
            waited_for[mutant.name] = pool.apply_async(mutants.kill, [mutant])
    return waited_for


def test_control_passes(outcomes):
    assert mutants.outcome_of(outcomes["control"]) == mutants.SURVIVED


@pytest.mark.parametrize("name", [mutant.name for mutant in mutants.MUTANTS])
def test_mutant_is_killed(outcomes, name):
    assert mutants.outcome_of(outcomes[name]) == mutants.KILLED


def test_mutant_that_raises_is_not_counted_as_killed(pool):
    mutant = mutants.MUTANTS[0]._replace(new="undefined_name,")
    assert pool.apply(mutants.kill, [mutant]).startswith(mutants.BROKEN)


def test_every_mutants_text_occurs_once():
    for mutant in mutants.MUTANTS:
        source = (mutants.ROOT / "src" / mutant.file).read_text()
        assert source.count(mutant.old) == 1, mutant.name


def test_text_that_does_not_occur_once_is_refused(pool):
    mutant = mutants.MUTANTS[0]._replace(old="log_prob_tm1")
    with pytest.raises(ValueError, match=r"occurs \d+ times"):
        pool.apply(mutants.kill, [mutant])
