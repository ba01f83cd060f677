"""Torsos: shapes of the papers, and pixels in bytes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from expedition.networks import DeepTorso, MLPTorso, ShallowTorso
from expedition.networks.torsos import ResidualBlock

TORSOS = pytest.mark.parametrize(
    ("torso", "features"),
    [(MLPTorso((7, 5)), 5), (ShallowTorso(), 256), (DeepTorso((2,)), 256)],
    ids=["mlp", "shallow", "deep"],
)


def random_parameters(module, x):
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)
    return jax.tree.map(lambda s: 0.2 * rng.normal(size=s.shape).astype(s.dtype), shapes)


def kernels(torso, observation_shape):
    """Shapes of the kernels, in the order in which they are applied."""
    modules = []

    def note(next_function, arguments, keywords, context):
        output = next_function(*arguments, **keywords)
        if isinstance(context.module, nn.Conv | nn.Dense) and context.method_name == "__call__":
            modules.append(context.module.variables["params"]["kernel"].shape)
        return output

    with nn.intercept_methods(note):
        image = jax.ShapeDtypeStruct((1, *observation_shape), jnp.uint8)
        jax.eval_shape(torso.init, jax.random.key(0), image)
    return modules


@TORSOS
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, bool])
def test_output_is_one_float_vector_per_observation(torso, features, dtype):
    observation = jax.ShapeDtypeStruct((3, 16, 12, 2), dtype)
    output, _ = jax.eval_shape(torso.init_with_output, jax.random.key(0), observation)
    assert output.shape == (3, features)
    assert output.dtype == jnp.float32


@TORSOS
def test_pixels_in_bytes_are_scaled_and_other_numbers_are_not(torso, features):
    pixels = np.random.default_rng(0).integers(256, size=(2, 8, 8, 1)).astype(np.uint8)
    assert pixels.max() > 250
    params = random_parameters(torso, pixels)
    apply = jax.jit(torso.apply)
    np.testing.assert_allclose(
        apply(params, pixels), apply(params, pixels.astype(np.float32) / 255), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(
        apply(params, pixels.astype(np.int32)), apply(params, pixels.astype(np.float32))
    )


@TORSOS
def test_observations_do_not_mix(torso, features):
    observation = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype(np.float32)
    params = random_parameters(torso, observation)
    apply = jax.jit(torso.apply)
    output = apply(params, observation)
    assert (np.ptp(output, axis=0) > 0).any()
    np.testing.assert_allclose(apply(params, observation[1:2]), output[1:2], atol=1e-5)


def test_shallow_torso_has_the_layers_of_the_paper():
    assert kernels(ShallowTorso(), (72, 96, 3)) == [
        (8, 8, 3, 16),
        (4, 4, 16, 32),
        (9 * 12 * 32, 256),
    ]


def test_deep_torso_has_the_15_convolutions_of_the_paper():
    *convolutions, dense = kernels(DeepTorso(), (72, 96, 3))
    channels = [(3, 16), *[(16, 16)] * 4, (16, 32), *[(32, 32)] * 9]
    assert convolutions == [(3, 3, before, after) for before, after in channels]
    assert len(convolutions) == 15
    assert dense == (9 * 12 * 32, 256)


def test_residual_block_without_weights_is_the_identity():
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 2)).astype(np.float32)
    params = random_parameters(ResidualBlock(), x)
    assert (ResidualBlock().apply(params, x) != x).any()
    params = jax.tree.map(jnp.zeros_like, params)
    np.testing.assert_array_equal(ResidualBlock().apply(params, x), x)


def test_mlp_normalises_its_first_layer_and_applies_elu_to_the_others():
    x = np.random.default_rng(0).normal(size=(3, 2, 2)).astype(np.float32)
    params = random_parameters(MLPTorso((7, 5)), x)
    layer, norm, other = (params["params"][name] for name in ("Dense_0", "LayerNorm_0", "Dense_1"))
    hidden = x.reshape(3, 4) @ layer["kernel"] + layer["bias"]
    hidden = (hidden - hidden.mean(-1, keepdims=True)) / hidden.std(-1, keepdims=True)
    hidden = np.tanh(hidden * norm["scale"] + norm["bias"]) @ other["kernel"] + other["bias"]
    expected = np.where(hidden > 0, hidden, np.expm1(hidden))
    np.testing.assert_allclose(MLPTorso((7, 5)).apply(params, x), expected, atol=1e-5)
