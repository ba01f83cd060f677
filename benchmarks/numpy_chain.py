"""The bipolar chain with K agents as one would write it in numpy: the peer of the simulator.

One world, one event at a time; each event's planning is vectorised over states and actions.
"""

import numpy as np

SWEEPS = 50


class Team:
    """What K agents share, and how one of them chooses."""

    def __init__(self, algorithm, agents, vertices, constants, rng):
        self.algorithm, self.rng, self.constants = algorithm, rng, constants
        self.vertices = vertices
        self.known = None  # the right end's value
        self.seeds = rng.choice([-1.0, 1.0], agents) * vertices
        shape = (vertices, 2)
        self.visits, self.rewards = np.zeros(shape), np.zeros(shape)
        self.goes_on = np.zeros(shape)
        self.after = np.zeros(shape, int)
        self.noise = np.zeros((agents, *shape))
        self.prior = rng.normal(0, constants.prior_variance**0.5, (agents, *shape))
        self.theta = self.prior.copy()
        vertex = np.arange(vertices)
        self.neighbours = np.stack(
            [np.maximum(vertex - 1, 0), np.minimum(vertex + 1, vertex[-1])], 1
        )
        self.neighbours[[0, -1]] = [[0, 0], [vertex[-1], vertex[-1]]]

    def act(self, agent, vertex):
        if self.algorithm == "seed_lsvi":
            return self._iterate(
                agent, np.zeros_like(self.rewards), self.constants.lsvi_horizon, 1
            )[vertex].argmax()
        if self.algorithm == "seed_td":
            steps, rate = self.constants.td_steps, self.constants.td_learning_rate
            self.theta[agent] = self._iterate(agent, self.theta[agent], steps, rate)
            return self.theta[agent][vertex].argmax()
        return self._plan(self._hypothesis(agent))[vertex].argmax()

    def learn(self, vertex, action, reward, after, ended):
        v = self.constants.noise_variance
        self.visits[vertex, action] += 1
        self.rewards[vertex, action] += reward
        self.goes_on[vertex, action] += not ended
        self.after[vertex, action] = after
        if self.algorithm in ("seed_lsvi", "seed_td"):
            self.noise[:, vertex, action] += self.rng.normal(0, v**0.5, len(self.noise))
        if ended:
            self.known = reward if after else -reward

    def _hypothesis(self, agent):
        rewards = np.full((self.vertices, 2), -0.1)
        if self.known is not None:
            left, right = -self.known, self.known
        elif self.algorithm == "concurrent_ucrl":
            left = right = self.constants.beta * self.vertices
        elif self.algorithm == "thompson_resampling":
            right = self.rng.choice([-1.0, 1.0]) * self.vertices
            left = -right
        else:
            left, right = -self.seeds[agent], self.seeds[agent]
        rewards[[0, -1]] = 0
        rewards[1, 0], rewards[-2, 1] = left, right
        return rewards

    def _plan(self, rewards):
        q = np.zeros_like(rewards)
        for _ in range(SWEEPS):
            q = rewards + q.max(1)[self.neighbours]
        return q

    def _iterate(self, agent, theta, steps, rate):
        v, lambda_ = self.constants.noise_variance, self.constants.prior_variance
        precision = self.visits / v + 1 / lambda_
        fixed = (self.rewards + self.noise[agent]) / v + self.prior[agent] / lambda_
        for _ in range(steps):
            target = (fixed + self.goes_on * theta.max(1)[self.after] / v) / precision
            theta = theta + rate * (target - theta)
        return theta


def simulate(algorithm, agents, constants, rng, vertices=50):
    """One world; returns the mean return and the number of actions taken."""
    right = rng.choice([-1.0, 1.0]) * vertices
    ticks = np.cumsum(rng.exponential(size=(agents, int(2 * constants.horizon))), axis=1)
    team = Team(algorithm, agents, vertices, constants, rng)
    place = np.full(agents, vertices // 2)
    returns, actions = np.zeros(agents), 0
    for event in np.argsort(ticks, axis=None):
        agent = event // ticks.shape[1]
        if ticks.flat[event] > constants.horizon:
            break
        if place[agent] in (0, vertices - 1):
            continue
        action = team.act(agent, place[agent])
        after = place[agent] + (1 if action else -1)
        ended = after in (0, vertices - 1)
        reward = (right if after else -right) if ended else -0.1
        team.learn(place[agent], action, reward, after, ended)
        place[agent] = after
        returns[agent] += reward
        actions += 1
    return returns.mean(), actions
