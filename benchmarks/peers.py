"""Other people's code in environments of its own, kept out of ours: what a contest runs.

The first use of each makes `build/peers/<name>` (a virtual environment of pinned versions) and
fetches the source at a pinned commit; that needs a network, once. Nothing of it is in this project.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "peers"
GUESTS = Path(__file__).parent / "guests"  # our few lines that run theirs


@dataclass(frozen=True)
class Command:
    """What a process runs, and where it finds what it imports."""

    words: tuple[str, ...]
    path: Path | None = None
    """The folder that a peer runs in, and imports from; none: ours."""

    def start(self, **settings: Any) -> "subprocess.Popen[str]":
        """Starts it; its output can be read."""
        environment = dict(os.environ)
        if self.path is not None:
            environment["PYTHONPATH"] = str(self.path)
        settings = {"cwd": self.path or ROOT, "stdout": subprocess.PIPE} | settings
        return subprocess.Popen(self.words, env=environment, text=True, **settings)


class PeerError(RuntimeError):
    """A peer could not be had or did not run; the message says what failed, and how."""


@dataclass(frozen=True)
class Peer:
    """Where a peer's code comes from."""

    name: str
    requirements: tuple[str, ...]
    """What pip installs."""
    repository: str
    """A git repository, for what is in no package."""
    commit: str
    """The commit of the repository that is checked out."""

    @property
    def python(self) -> Path:
        """The interpreter of its environment; made first by `install`."""
        return FOLDER / self.name / "venv" / "bin" / "python"

    @property
    def source(self) -> Path:
        """The checkout of its repository."""
        return FOLDER / self.name / "source"

    def install(self) -> None:
        """Makes the environment, unless it is there.

        Raises:
          PeerError: a command failed.
        """
        venv = self.python.parents[1]
        if not (venv / ".installed").exists():
            shutil.rmtree(venv, ignore_errors=True)
            _run(sys.executable, "-m", "venv", str(venv))
            _run(str(self.python), "-m", "pip", "install", "--quiet", *self.requirements)
            (venv / ".installed").touch()

    def fetch(self) -> None:
        """Checks the repository's commit out, unless that was done.

        Raises:
          PeerError: a command failed.
        """
        if (self.source / ".git" / "FETCH_HEAD").exists():
            return
        shutil.rmtree(self.source, ignore_errors=True)
        git = "git", "-C", str(self.source)
        _run("git", "init", "--quiet", str(self.source))
        _run(*git, "fetch", "--quiet", "--depth", "1", self.repository, self.commit)
        _run(*git, "checkout", "--quiet", "FETCH_HEAD")


HAIKU = Peer(  # and bsuite: the example plays its catch, and its bootstrapped DQN is of Haiku
    "haiku",
    ("bsuite==0.3.6", "dm-haiku==0.0.17", "jax==0.10.2", "optax==0.2.8", "rlax==0.1.9"),
    "https://github.com/google-deepmind/dm-haiku",
    "f4d858a5cbb29140855d68f81f5fd625e078a5ae",
)
STOIX = Peer(
    "stoix",
    (
        *("jax==0.5.3", "numpy==2.2.6", "pandas==2.3.3", "protobuf==3.20.3", "setuptools==80.10.2"),
        *("flax==0.10.6", "optax==0.2.8", "chex==0.1.90", "rlax==0.1.7", "distrax==0.1.5"),
        *("tensorflow-probability==0.25.0", "orbax-checkpoint==0.11.24", "stoa-env==0.1.2"),
        *("flashbax==0.1.3", "envpool==1.2.5", "gymnasium==1.4.0", "hydra-core==1.3.8"),
        *("omegaconf==2.3.1", "colorama==0.4.6", "neptune==1.14.0.post2"),
        *("tensorboard-logger==0.1.0", "wandb==0.19.8"),
    ),
    "https://github.com/EdanToledo/Stoix",
    "8fff19c94a478c1e1ff75fbf10396d488aa25d70",
)


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise PeerError(f"{' '.join(command)} failed:\n{(result.stdout + result.stderr)[-2000:]}")


def haiku_on_catch(trajectories: int) -> Command:
    """The command that runs Haiku's example: trajectories of 20 steps of each of two actors."""
    HAIKU.fetch()
    HAIKU.install()
    example = HAIKU.source / "examples" / "impala_lite.py"
    words = str(HAIKU.python), str(GUESTS / "impala_lite.py"), str(example), str(trajectories)
    return Command(words, HAIKU.source / "examples")


def stoix_on_cartpole(steps: int) -> Command:
    """The command that runs Stoix's IMPALA on 16 environments, unrolls of 20, for so many steps."""
    STOIX.fetch()
    STOIX.install()
    arguments = (
        *("network=mlp", "env=envpool/cartpole", "arch.total_num_envs=16"),
        *("arch.actor.actor_per_device=1", "arch.learner.device_ids=[0]"),
        *("arch.evaluator_device_id=0", "system.rollout_length=20", "arch.num_evaluation=2"),
        *("arch.num_eval_episodes=16", f"arch.total_timesteps={steps}"),
    )
    words = str(STOIX.python), str(GUESTS / "stoix_impala.py"), *arguments
    return Command(words, STOIX.source)


@contextmanager
def boot_dqn(members: int, batch: int) -> Iterator[Callable[[float], tuple[float, float]]]:
    """bsuite's bootstrapped DQN as a process: given the seconds of a window, its member-updates a
    second, and a second of all cores.

    Raises:
      PeerError: it could not be installed, or ended.
    """
    HAIKU.install()
    words = str(HAIKU.python), str(GUESTS / "boot_dqn.py"), str(members), str(batch)
    with Command(words, FOLDER).start(stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        given, taken = process.stdin, process.stdout

        def window(seconds: float) -> tuple[float, float]:
            print(seconds, file=given, flush=True)
            answer = taken.readline()
            if not answer:
                raise PeerError(f"{' '.join(words)} ended without an answer")
            rate, of_cores = map(float, answer.split())
            return rate, of_cores

        yield window
        given.close()
