"""What is saved is read as it was, or not at all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from expedition.runtime import Checkpoints
from expedition.runtime.checkpoint import Saved


def saved(offset=0):
    learner = {
        "narrow": jnp.arange(3, dtype=jnp.bfloat16)[None] / 3 + offset,
        "keys": jax.random.split(jax.random.key(offset, impl="rbg"), 2),
        "count": jnp.array([7 + offset]),
        "is_on": np.array([True]),
        "wide": np.array([1e-300 + offset]),
    }
    before = [{"a": np.zeros((0, 2))}, {"a": np.array(2.5, np.float32)}]
    positions = np.arange(6, dtype=np.uint8).reshape(2, 3)
    return Saved(learner, before, positions, {"updates": 3, "seconds": 0.1})


@pytest.fixture
def folder(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(3, saved())
    checkpoints.close()
    return tmp_path / "checkpoints"


def restored(folder, like):
    checkpoints = Checkpoints(folder)
    found = checkpoints.restore(like._replace(positions=None, counters=()))
    checkpoints.close()
    return found


def test_arrays_of_all_types_are_read_as_they_were(folder):
    found, expected = restored(folder, like=saved(offset=1)), saved()
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        if not isinstance(other, int | float):
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
        if jax.dtypes.issubdtype(getattr(other, "dtype", None), jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        np.testing.assert_array_equal(one, other)


def test_names_that_collide_are_refused(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    learner = {"a/b": np.zeros(1), "a": {"b": np.ones(1)}}
    with pytest.raises(ValueError, match="makes two the same"):
        checkpoints.save(3, saved()._replace(learner=learner))
    checkpoints.close()


def test_saving_in_quick_succession_has_nothing_to_complain_of(tmp_path, caplog):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for update in range(1, 41):
        checkpoints.save(update, saved())
    checkpoints.close()
    assert not caplog.records
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"39", "40"}


def assert_refused(folder, message, like=None):
    with (
        pytest.warns(RuntimeWarning, match=message),
        pytest.raises(ValueError, match="no checkpoint can be read"),
    ):
        restored(folder, like or saved())


def test_one_changed_byte_is_noticed(folder):
    path = folder / "3" / "run" / "0_of_1.npz"
    data = path.read_bytes()
    at = data.index(saved().positions.tobytes())
    path.write_bytes(data[:at] + b"\1" + data[at + 1 :])
    assert_refused(folder, "checkpoint 3 cannot be read: Bad CRC-32")


def test_that_of_another_number_of_processes_is_refused(folder):
    run = folder / "3" / "run"
    (run / "0_of_1.npz").rename(run / "0_of_2.npz")
    assert_refused(folder, "there is no 0_of_1.npz, but 0_of_2.npz")


@pytest.mark.parametrize("other", [np.zeros(2, np.int32), np.zeros(1, np.float32)])
def test_another_shape_or_type_is_refused(folder, other):
    like = saved()
    like.learner["count"] = other
    kind = f"{other.shape} {other.dtype.str[1:]}".replace("(", r"\(").replace(")", r"\)")
    message = rf"learner/count \(1,\) i4'\], this run has \['learner/count {kind}'"
    assert_refused(folder, message, like)
