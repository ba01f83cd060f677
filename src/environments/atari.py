"""Atari 2600 games, emulated and preprocessed outside Python, as a batched environment."""

import difflib
from functools import partial

import jax
import numpy as np

from expedition.environments.gym import GymBatch, make_seeds

FRAMES_PER_STEP = 4
MAX_FRAMES = 108_000  # half an hour of play; then the episode is cut off, not terminated


def atari_batch(game: str, num_environments: int, key: jax.Array) -> GymBatch:
    """Makes `num_environments` copies of a game, each with its own random seed.

    The paper's preprocessing: an action lasts 4 frames, of which the last two are merged by their
    maximum; images are grey, 84x84, and the newest 4 are the channels. Episodes start after up to
    30 random no-ops and are cut off after 108,000 frames. Unlike the paper's (table G.1), they
    end with the game, not with a life. No action is sticky, and no button is pressed in the
    agent's place to start. Actions are those that the game knows (its minimal set); rewards are
    its score, for the agent to clip.

    Source: Espeholt et al. (2018), appendix G, https://arxiv.org/abs/1802.01561

    Args:
      game: its name in the Arcade Learning Environment, such as `ms_pacman`, or `MsPacman`.
      num_environments: how many copies.
      key: names the copies' seeds.

    Raises:
      ModuleNotFoundError: ale-py or gymnasium is not installed.
      ValueError: there is no such game.
    """
    try:
        from ale_py import roms
        from ale_py.vector_env import AtariVectorEnv
        from gymnasium.spaces import Box
        from gymnasium.wrappers.vector import TransformObservation
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed; pip install '.[atari]'"
        ) from error
    games = {name.replace("_", ""): name for name in roms.get_all_rom_ids()}
    plain = game.lower().replace("_", "")
    if plain not in games:
        near = difflib.get_close_matches(plain, games, n=3) or ["pong", "breakout"]
        raise ValueError(
            f"Atari game {game!r} was given; try {', '.join(games[name] for name in near)}"
        )
    seeds = make_seeds(key, num_environments)
    stacked_first = AtariVectorEnv(
        games[plain],
        num_environments,
        max_num_frames_per_episode=MAX_FRAMES,
        repeat_action_probability=0.0,
        frameskip=FRAMES_PER_STEP,
        maxpool=True,
        noop_max=30,
        episodic_life=False,
        reward_clipping=False,
        use_fire_reset=False,
    )
    environments = TransformObservation(
        stacked_first,
        partial(np.moveaxis, source=1, destination=-1),
        single_observation_space=Box(0, 255, (84, 84, 4), np.uint8),
    )
    return GymBatch(environments, seeds, FRAMES_PER_STEP)
