"""Seeds: random numbers that are pure functions of (key, agent, number of the datum).

Agent k draws its seed ω_k = (θ̂_k, z_k1, z_k2, ...) once. The seed is independent across agents and
fixed for all time, and z_kj belongs to the observation with number j in the shared buffer, whoever
sees it and whenever. A generator with a state would have to store every z_kj; here it is computed
anew at each use from a counter, so that it takes no memory and cannot depend on the batching, the
order, the number of devices or a restart.

Each number takes the first word of one block of Threefry-2x32, which encrypts the counter (k, j)
under the stream's key. Measured, in millions of normals a second and core (AMD EPYC):

    fold_in(fold_in(key, k), j) and jax.random.normal               20
    jax.extend.random.threefry_2x32, a block a number              120
    the same, a block for each pair of agents                      160
    here: a block a number, written out so that XLA fuses it       220
    the same, a block for each pair of agents                      190

So the second word is left unused: to interleave a pair of agents costs more than a second block. A
two-round multiply-and-shift hash would be faster, but has not Threefry's statistical guarantees,
and `rbg` keys are not stable under `jax.vmap`.

The random bits are the same on every backend; another backend may round the logarithm and the
inverse error function differently in the last place.

Draws of one stream all read the same bits: `uniform` and `gaussian` of the same key are functions
of each other. Each purpose takes a key of its own, see `Seeds`.

Sources: Dimakopoulou, Osband, Van Roy 2018, "Scalable Coordinated Exploration in Concurrent
Reinforcement Learning", section 3, https://arxiv.org/abs/1805.08948. Dimakopoulou, Van Roy 2018,
"Coordinated Exploration in Concurrent Reinforcement Learning", https://arxiv.org/abs/1802.01282.
Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Threefry).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from expedition.exploration.threefry import Words, block

FEISTEL_ROUNDS = 12  # each of the 24 orders of four slots then has 1/24, to 0.1 %


class Seeds(NamedTuple):
    """The keys of the independent streams that make up the agents' seeds."""

    prior: jax.Array  # θ̂_k: the agents' own samples of the prior
    noise: jax.Array  # z_kj: what agent k adds to the target of datum j
    mask: jax.Array  # the data that agent k's bootstrap keeps
    replacement: jax.Array  # the slots that agent k's buffer overwrites


def make_seeds(key: jax.Array) -> Seeds:
    """Derives the streams' keys from one key, each from its place in `Seeds`."""
    return Seeds(*(jax.random.fold_in(key, place) for place in range(len(Seeds._fields))))


def uniform(key: jax.Array, agent: ArrayLike, number: ArrayLike) -> jax.Array:
    """Draws U(0, 1): the 2^23 odd multiples of 2^-24, so never 0, 1 or 0.5.

    Args:
        key: the stream's key, a single Threefry key.
        agent: integers k ≥ 0 of any shape that broadcasts with `number`.
        number: integers j ≥ 0, the datum's number in the shared buffer.

    Returns:
        float32 numbers of the broadcast shape.

    Raises:
        TypeError: if agent or number are no integers.
        ValueError: if the key is of another kind, or if it is an array of keys.
    """
    return _to_uniform(_bits(key, agent, number))


def gaussian(key: jax.Array, agent: ArrayLike, number: ArrayLike) -> jax.Array:
    """Draws N(0, 1), symmetric and cut at ±5.3, beyond which lies 1e-7; see `uniform`."""
    return _to_gaussian(_bits(key, agent, number))


def exponential(key: jax.Array, agent: ArrayLike, number: ArrayLike) -> jax.Array:
    """Draws Exp(1), cut to 6e-8 ... 16.6, beyond which lies 6e-8 each; see `uniform`."""
    return _to_exponential(_bits(key, agent, number))


def bernoulli(
    key: jax.Array, agent: ArrayLike, number: ArrayLike, probability: ArrayLike
) -> jax.Array:
    """Draws booleans that are true with this probability, to 2^-24; 0 and 1 are exact.

    See `uniform`; `probability` broadcasts with the other two.
    """
    return uniform(key, agent, number) < probability


def gaussian_of_all(key: jax.Array, num_agents: int, number: ArrayLike) -> jax.Array:
    """`gaussian` of the agents 0 ... K - 1 for each datum.

    Args:
        key: the stream's key, a single Threefry key.
        num_agents: the number K of agents, static.
        number: [...] integers j ≥ 0.

    Returns:
        [..., K] float32.
    """
    return _of_all(gaussian, key, num_agents, number)


def exponential_of_all(key: jax.Array, num_agents: int, number: ArrayLike) -> jax.Array:
    """`exponential` of the agents 0 ... K - 1 for each datum; see `gaussian_of_all`."""
    return _of_all(exponential, key, num_agents, number)


def replacement_slot(
    key: jax.Array, agent: ArrayLike, datum: ArrayLike, capacity: int
) -> jax.Array:
    """The slot of agent k's buffer that datum j overwrites.

    A buffer of capacity C overwrites at random, differently for each agent. The first C data fill
    the slots in order. Each later cycle c = j // C of C data overwrites every slot once, in the
    order of a permutation π_kc that the seed determines:

        slot = π_kc(j mod C),    π_k0 = id

    π is evaluated pointwise, in no memory: a Feistel network, with Threefry as its round function,
    permutes 0 ... n² - 1 ≥ C - 1, and is applied again for as long as the result is not below C.
    The side n is even: were it odd, all permutations of the square would be even.

    Args:
        key: the key of the stream `replacement`.
        agent: integers k ≥ 0.
        datum: integers j ≥ 0, the datum's number in the shared buffer; broadcasts with `agent`.
        capacity: C ≥ 1, static.

    Returns:
        int32 slots in 0 ... C - 1, of the broadcast shape.

    Raises:
        TypeError: if agent or datum are no integers.
        ValueError: if the key is no single Threefry key, or if the capacity is below 1.

    Source: Black, Rogaway 2002, "Ciphers with Arbitrary Finite Domains" (cycle walking and the
    generalized Feistel network).
    """
    _check_capacity(capacity)
    agent, datum = _integers(agent=agent, datum=datum)
    cycle, position = jnp.divmod(datum, capacity)
    return _permuted(key, agent, cycle, position, capacity, inverse=False)


def datum_in_slot(
    key: jax.Array, agent: ArrayLike, slot: ArrayLike, size: ArrayLike, capacity: int
) -> jax.Array:
    """The newest datum in a slot of agent k's buffer, the inverse of `replacement_slot`.

    Args:
        key: the key of the stream `replacement`.
        agent: integers k ≥ 0.
        slot: integers in 0 ... C - 1.
        size: J ≥ 0, the number of data so far; the three broadcast.
        capacity: C ≥ 1, static.

    Returns:
        int32 numbers j of data, of the broadcast shape, J - 2C < j < J, or -1 if the slot is still
        empty: the slots J and above are.

    Raises:
        TypeError: if agent, slot or size are no integers.
        ValueError: if the key is no single Threefry key, or if the capacity is below 1.
    """
    _check_capacity(capacity)
    agent, slot, size = _integers(agent=agent, slot=slot, size=size)
    current = (size - 1) // capacity  # the newest datum's: cycle 0 up to C data, -1 without data
    cycles = jnp.stack([current, current - 1])
    agent, slot = (jnp.broadcast_to(x, cycles.shape) for x in (agent, slot))
    data = cycles * capacity + _permuted(key, agent, cycles, slot, capacity, inverse=True)
    return jnp.maximum(jnp.where(data[0] < size, data[0], data[1]), -1)


def _of_all(
    draw: Callable[..., jax.Array], key: jax.Array, num_agents: int, number: ArrayLike
) -> jax.Array:
    return draw(key, jnp.arange(num_agents), jnp.asarray(number)[..., None])


def _bits(key: jax.Array, agent: ArrayLike, number: ArrayLike) -> jax.Array:
    return block(_key_words(key), *_integers(agent=agent, number=number))[0]


def _to_uniform(bits: jax.Array) -> jax.Array:
    # Exact in float32: 23 bits and the half fit the significand.
    return ((bits >> 9).astype(jnp.float32) + 0.5) * jnp.float32(2**-23)


def _to_gaussian(bits: jax.Array) -> jax.Array:
    return math.sqrt(2) * jax.lax.erf_inv(2 * _to_uniform(bits) - 1)


def _to_exponential(bits: jax.Array) -> jax.Array:
    return -jnp.log(_to_uniform(bits))


def _permuted(
    key: jax.Array,
    agent: jax.Array,
    cycle: jax.Array,
    index: jax.Array,
    capacity: int,
    *,
    inverse: bool,
) -> jax.Array:
    """π_kc(index), or its inverse; the identity in cycle 0 and before."""
    words = block(_key_words(key), agent, cycle)  # each permutation has a Threefry key of its own

    def walk(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        index, is_walking = state
        index = jnp.where(is_walking, _feistel(words, index, capacity, inverse=inverse), index)
        return index, is_walking & (index >= capacity)

    # A loop, also for the first step: where all are in cycle 0 it costs nothing, even under vmap.
    state = index.astype(jnp.uint32), cycle > 0
    index, _ = jax.lax.while_loop(lambda state: state[1].any(), walk, state)
    return index.astype(jnp.int32)


def _feistel(key_words: Words, index: jax.Array, capacity: int, *, inverse: bool) -> jax.Array:
    """Permutes 0 ... n² - 1, where n is even and n² ≥ capacity; index = n left + right.

    Each round maps (left, right) to (right, (left + F(right)) mod n).
    """
    side = math.isqrt(capacity - 1) + 1
    side += side % 2

    def shift(number: jax.Array, half: jax.Array) -> jax.Array:
        return block(key_words, number, half)[0] % side

    def forward(number: jax.Array, halves: Words) -> Words:
        left, right = halves
        return right, (left + shift(number, right)) % side

    def backward(number: jax.Array, halves: Words) -> Words:
        left, right = halves
        return (right + side - shift(FEISTEL_ROUNDS - 1 - number, left)) % side, left

    halves = tuple(jnp.divmod(index, side))
    one_round = backward if inverse else forward
    left, right = jax.lax.fori_loop(0, FEISTEL_ROUNDS, one_round, halves)
    return left * side + right


def _key_words(key: jax.Array) -> Words:
    if (kind := jax.random.key_impl(key)) != "threefry2x32":
        raise ValueError(
            f"a key of kind {kind!r} was given; expected 'threefry2x32', whose numbers do not "
            "depend on the batching: make it with jax.random.key(seed, impl='threefry2x32')"
        )
    words = jax.random.key_data(key)
    if words.shape != (2,):
        raise ValueError(
            f"keys of shape {words.shape[:-1]} were given; expected a single key: "
            "choose one of them, or use jax.vmap over them"
        )
    return words[0], words[1]


def _integers(**named: ArrayLike) -> list[jax.Array]:
    """The arrays as int32, broadcast against each other."""
    for name, value in named.items():
        if not jnp.issubdtype(jnp.result_type(value), jnp.integer):
            raise TypeError(
                f"{name} of type {jnp.result_type(value)} was given; expected integers: "
                "convert it with .astype(jnp.int32)"
            )
    return [x.astype(jnp.int32) for x in jnp.broadcast_arrays(*named.values())]


def _check_capacity(capacity: int) -> None:
    if capacity < 1:
        raise ValueError(f"a capacity of {capacity} was given; expected at least 1")
