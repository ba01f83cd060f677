"""What a team sees: single transitions, whoever made them."""

from typing import NamedTuple

import chex


class Transitions(NamedTuple):
    """B transitions in the order in which they are numbered."""

    observation: chex.ArrayTree  # [B, ...] before the action
    action: chex.Array  # [B] int
    reward: chex.Array  # [B]
    discount: chex.Array  # [B] 0 where the episode terminated, else 1
    next_observation: chex.ArrayTree  # [B, ...] after the action
    is_valid: chex.Array  # [B] bool, False: the row is none and gets no number
