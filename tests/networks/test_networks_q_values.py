"""The MLP with a linear way past it."""

import jax
import jax.numpy as jnp
import numpy as np

from expedition.networks import CellMLP, SkipMLP

X = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


def test_it_is_an_mlp_plus_a_linear_map():
    network = SkipMLP(3, (7, 6))
    params = jax.device_get(network.init(jax.random.key(0), X)["params"])
    hidden = X
    for name in ("Dense_0", "Dense_1"):
        hidden = np.maximum(hidden @ params[name]["kernel"] + params[name]["bias"], 0)
    expected = hidden @ params["Dense_2"]["kernel"] + params["Dense_2"]["bias"]
    expected += X @ params["skip"]["kernel"]
    np.testing.assert_allclose(network.apply({"params": params}, X), expected, rtol=1e-5, atol=1e-6)
    assert set(params["skip"]) == {"kernel"}


def test_kernels_are_glorots_and_biases_zero():
    params = SkipMLP(300, (500,)).init(jax.random.key(0), jnp.zeros((1, 200)))["params"]
    for layer in params.values():
        kernel = np.asarray(layer["kernel"])
        limit = (6 / sum(kernel.shape)) ** 0.5
        assert np.abs(kernel).max() <= limit
        np.testing.assert_allclose(kernel.std(), limit / 3**0.5, rtol=0.02)
        np.testing.assert_array_equal(layer.get("bias", 0), 0)


def test_features_are_scaled_first():
    params = SkipMLP(3, (7,)).init(jax.random.key(0), X)
    scale = (1.0, 4.0, 0.5, 1.0)
    np.testing.assert_allclose(
        SkipMLP(3, (7,), scale).apply(params, X),
        SkipMLP(3, (7,)).apply(params, X * np.array(scale, np.float32)),
        rtol=1e-6,
    )


def test_a_cells_network_is_an_mlp_of_its_one_hot_observation():
    network = CellMLP(num_cells=6, num_outputs=3, hidden=(5, 4))
    cells = jnp.array([0, 5, 2, 2])
    params = network.init(jax.random.key(0), cells)
    layers = jax.device_get(params["params"])
    x = np.eye(6, dtype=np.float32)[cells] @ layers["Embed_0"]["embedding"]
    for i in range(2):
        x = np.maximum(x, 0) @ layers[f"Dense_{i}"]["kernel"] + layers[f"Dense_{i}"]["bias"]
    np.testing.assert_allclose(network.apply(params, cells), x, rtol=1e-5, atol=1e-6)


def test_a_cells_network_starts_at_the_scale_of_one_input():
    table = CellMLP(4000, 2).init(jax.random.key(0), jnp.array([0]))["params"]["Embed_0"]
    assert abs(table["embedding"].std() - 1) < 0.01
