"""The deliberate mistakes that `mutants.py` makes."""

from typing import NamedTuple

DEFINITION = "tests/losses/test_vtrace_definition.py"
BOUNDARIES = "tests/losses/test_vtrace_boundaries.py"
ACTOR_CRITIC = "tests/losses/test_actor_critic.py"
POLICY_GRADIENT = "tests/losses/test_policy_gradient.py"
AGENT = "tests/agents/test_impala.py"
EXACT_ZERO = "tests/runtime/test_exact_zero.py"
SEEDS = "tests/exploration/test_seeds.py"
REPLAY = "tests/exploration/test_replay.py"
DIRICHLET = "tests/exploration/test_dirichlet.py"
SEEDED = "tests/agents/test_seeded_impala.py"
ENSEMBLE = "tests/agents/test_seed_ensemble.py"
EXPERIENCE = "tests/exploration/test_experience.py"
PLANNING = "tests/exploration/test_planning.py"
CARTPOLE = "tests/environments/test_environments_tabular_cartpole.py"
DEEP_SEA = "tests/environments/test_environments_deep_sea.py"
DETERMINISTIC = "tests/runtime/test_deterministic.py"
TWO_PARTS = (
    "tests/runtime/test_checkpoint.py"
    "::test_a_run_in_two_parts_is_bit_equal_to_one[impala-2_unrolls_a_batch]"
)


class Mutant(NamedTuple):
    """One mistake and the tests that must catch it."""

    name: str
    file: str  # relative to src/
    old: str  # occurs exactly once in the file
    new: str
    tests: tuple[str, ...]  # pytest node ids


MUTANTS = [
    Mutant(
        "behaviour and target policy swapped",
        "losses/impala.py",
        "log_prob_tm1 - behaviour_log_prob_tm1,",
        "behaviour_log_prob_tm1 - log_prob_tm1,",
        (f"{ACTOR_CRITIC}::test_impala_equals_its_closed_form",),
    ),
    Mutant(
        "last step dropped",
        "losses/vtrace.py",
        "delta_t = rho_tm1 * (r_t + discount_t * v_t - value)",
        "delta_t = (rho_tm1 * (r_t + discount_t * v_t - value)).at[-1].set(0)",
        (DEFINITION,),
    ),
    Mutant(
        "bootstrap doubled in the advantages",
        "losses/vtrace.py",
        "jnp.zeros_like(acc_tm1[:1])",
        "v_t[-1:]",
        (DEFINITION,),
    ),
    Mutant(
        "bootstrap doubled in the returns",
        "losses/policy_gradient.py",
        "r_t + discount_t * (1 - continuation_t) * v_t",
        "r_t + discount_t * (1 - continuation_t) * 2 * v_t",
        (f"{POLICY_GRADIENT}::test_return_equals_its_definition",),
    ),
    Mutant(
        "recurrence starts from the last row instead of zero",
        "losses/recurrence.py",
        "jnp.zeros_like(x[0])",
        "x[-1]",
        (DEFINITION,),
    ),
    Mutant(
        "c in place of rho",
        "losses/vtrace.py",
        "delta_t = rho_tm1 *",
        "delta_t = c_tm1 *",
        (DEFINITION,),
    ),
    Mutant(
        "rho not clipped",
        "losses/vtrace.py",
        "rho_tm1 = _clipped_ratio(log_rho_tm1, rho_bar)",
        "rho_tm1 = jnp.exp(log_rho_tm1)",
        (DEFINITION,),
    ),
    Mutant(
        "advantages clipped at rho_bar",
        "losses/vtrace.py",
        "_clipped_ratio(log_rho_tm1, rho_bar_pg)",
        "_clipped_ratio(log_rho_tm1, rho_bar)",
        (DEFINITION,),
    ),
    Mutant(
        "lambda ignored",
        "losses/vtrace.py",
        "c_tm1 = lambda_ * ",
        "c_tm1 = ",
        (DEFINITION,),
    ),
    Mutant(
        "targets leak over a truncation",
        "losses/vtrace.py",
        "_clipped_ratio(log_rho_tm1, c_bar) * continuation_t",
        "_clipped_ratio(log_rho_tm1, c_bar)",
        (BOUNDARIES,),
    ),
    Mutant(
        "advantages leak over a truncation",
        "losses/vtrace.py",
        "jnp.where(discount_t * continuation_t == 0, 0, acc_t)  # a selection also stops NaN\n"
        "    corrected_v_t = v_t + continuation_t * acc_t",
        "jnp.where(discount_t == 0, 0, acc_t)\n    corrected_v_t = v_t + acc_t",
        (BOUNDARIES,),
    ),
    Mutant(
        "returns leak over a truncation",
        "losses/policy_gradient.py",
        "discount_t * continuation_t)\n",
        "discount_t)\n",
        (f"{POLICY_GRADIENT}::test_return_equals_its_definition",),
    ),
    Mutant(
        "advantage from the uncorrected value",
        "losses/vtrace.py",
        "rho_pg_tm1 * (action_values - value)",
        "rho_pg_tm1 * (r_t + discount_t * v_t - value)",
        (DEFINITION,),
    ),
    Mutant(
        "entropy penalised",
        "losses/actor_critic.py",
        "* value - entropy_cost * entropy",
        "* value + entropy_cost * entropy",
        (f"{ACTOR_CRITIC}::test_a_step_on_the_entropy_term_raises_entropy",),
    ),
    Mutant(
        "policy gradient descends",
        "losses/policy_gradient.py",
        "return -log_prob *",
        "return log_prob *",
        (f"{ACTOR_CRITIC}::test_a_step_on_the_policy_term_follows_the_reward",),
    ),
    Mutant(
        "gradient through the value target",
        "losses/actor_critic.py",
        "jax.lax.stop_gradient(target) - value",
        "target - value",
        (f"{POLICY_GRADIENT}::test_value_loss",),
    ),
    Mutant(
        "mean over the rows that are not masked",
        "losses/rows.py",
        "total / loss.size",
        "total / jnp.sum(weight)",
        (f"{ACTOR_CRITIC}::test_mean_of_shards_is_the_mean_of_the_batch",),
    ),
    Mutant(
        "agent swaps behaviour and target policy",
        "agents/actor_critic.py",
        "log_prob, behaviour = policy.log_prob",
        "behaviour, log_prob = policy.log_prob",
        (f"{AGENT}::test_the_update_minimises_the_loss_of_the_definition",),
    ),
    Mutant(
        "agent lets traces run across episodes",
        "agents/actor_critic.py",
        '"continuation_t": batch.continues.astype(reward.dtype)',
        '"continuation_t": None',
        (f"{AGENT}::test_the_update_minimises_the_loss_of_the_definition",),
    ),
    Mutant(
        "agent learns from rows that restart an episode",
        "agents/actor_critic.py",
        '"weight_tm1": batch.is_transition.astype(reward.dtype)',
        '"weight_tm1": None',
        (f"{AGENT}::test_the_row_that_restarts_an_episode_changes_nothing",),
    ),
    Mutant(
        "agent takes a truncation for a termination",
        "agents/actor_critic.py",
        "config.discount * batch.discount,",
        "config.discount * batch.discount * batch.continues,",
        (f"{AGENT}::test_the_update_minimises_the_loss_of_the_definition",),
    ),
    Mutant(
        "sums over devices averaged",
        "agents/actor_critic.py",
        'jax.lax.psum if self.config.reduction == "sum" else jax.lax.pmean',
        "jax.lax.pmean",
        ("tests/runtime/test_learner_devices.py::test_update_is_the_same_on_1_2_4_and_8_devices",),
    ),
    Mutant(
        "actor records what an action caused a step late",
        "runtime/playing.py",
        "_record(trajectory, t, t + 1, action, extras, seen)",
        "_record(trajectory, t, t + 1, action, extras, timestep)",
        (f"{EXACT_ZERO}::test_the_batch_that_is_shifted_is_exact",),
    ),
    Mutant(
        "recurrent state carried into the next episode",
        "networks/cores.py",
        "jnp.where(reset[:, None], 0.0, s)",
        "s",
        ("tests/runtime/test_recurrent_replay.py", "tests/networks/test_networks_cores.py"),
    ),
    Mutant(
        "numbers written out are not JAX's",
        "exploration/threefry.py",
        "ROTATIONS[group % 2]",
        "ROTATIONS[0]",
        ("tests/exploration/test_threefry.py",),
    ),
    Mutant(
        "a seed's agent ignored",
        "exploration/seeds.py",
        "*_integers(agent=agent, number=number))[0]",
        "*_integers(agent=agent * 0, number=number))[0]",
        (f"{SEEDS}::test_draws_are_uncorrelated",),
    ),
    Mutant(
        "a seed's number ignored",
        "exploration/seeds.py",
        "*_integers(agent=agent, number=number))[0]",
        "*_integers(agent=agent, number=number * 0))[0]",
        (f"{SEEDS}::test_draws_are_uncorrelated",),
    ),
    Mutant(
        "variance of the seeds squared",
        "exploration/seeds.py",
        "math.sqrt(2) * jax.lax.erf_inv",
        "2 * jax.lax.erf_inv",
        (f"{SEEDS}::test_laws",),
    ),
    Mutant(
        "the ring holds one cycle only",
        "exploration/replay.py",
        "% rows, rows)",
        "% replay.capacity, rows)",
        (f"{REPLAY}::test_the_ring_holds_the_newest_data_of_two_cycles",),
    ),
    Mutant(
        "agents share their transition seeds",
        "exploration/dirichlet.py",
        "agent = jnp.arange(num_agents)[:, None]",
        "agent = jnp.zeros((num_agents, 1), jnp.int32)",
        (f"{DIRICHLET}::test_seeds_sample_the_dirichlet_posterior",),
    ),
    Mutant(
        "a datum's exponential has the number of its row",
        "exploration/dirichlet.py",
        "number = jnp.maximum(old.size + jnp.cumsum(new.is_valid, dtype=jnp.int32) - 1, 0)",
        "number = jnp.arange(len(new.is_valid))",
        (f"{DIRICHLET}::test_batching_means_nothing",),
    ),
    Mutant(
        "standard deviation of the rewards squared",
        "exploration/dirichlet.py",
        "reward = mu + sigma * zeta",
        "reward = mu + sigma**2 * zeta",
        (f"{DIRICHLET}::test_seeds_sample_the_gaussian_posterior_of_rewards",),
    ),
    Mutant(
        "gamma variables without rejection",
        "exploration/dirichlet.py",
        "return stream + 2, jnp.where(is_drawn, drawn, d * cube), is_drawn | accepts",
        "return stream + 2, d * cube, is_drawn | True",
        (f"{DIRICHLET}::test_fresh_samples_are_exact",),
    ),
    Mutant(
        "centrifugal push with the whole length",
        "environments/tabular_cartpole.py",
        "self.pole_mass * half * velocity**2",
        "self.pole_mass * self.length * velocity**2",
        (f"{CARTPOLE}::test_a_step_is_that_of_the_coupled_equations",),
    ),
    Mutant(
        "one noise for all agents",
        "exploration/regression.py",
        "gaussian_of_all(old.seeds.noise, num_agents,",
        "gaussian_of_all(old.seeds.noise, 1,",
        (
            "tests/exploration/test_regression.py::test_over_the_seeds_a_regression_is_a_sample_of_the_posterior[24-cells]",
        ),
    ),
    Mutant(
        "one noise for all data",
        "exploration/regression.py",
        "num_agents, jnp.maximum(number, 0))",
        "num_agents, 0 * number)",
        (
            "tests/exploration/test_regression.py::test_over_the_seeds_a_regression_is_a_sample_of_the_posterior[24-cells]",
        ),
    ),
    Mutant(
        "one sample of the prior for all agents",
        "exploration/regression.py",
        "gaussian(seeds.prior, agents, jnp.arange(num_states * num_actions))",
        "gaussian(seeds.prior, 0 * agents, jnp.arange(num_states * num_actions))",
        (
            "tests/exploration/test_regression.py::test_over_the_seeds_a_regression_is_a_sample_of_the_posterior[0-cells]",
        ),
    ),
    Mutant(
        "data numbered from one",
        "exploration/regression.py",
        "age = (statistics.size - 1 - jnp.arange(capacity))",
        "age = (statistics.size - 2 - jnp.arange(capacity))",
        (
            "tests/exploration/test_regression.py::test_a_full_ring_is_the_regression_of_the_newest_data",
        ),
    ),
    Mutant(
        "rows that are none get a number",
        "exploration/regression.py",
        "number = old.size + jnp.cumsum(seen.is_valid, dtype=jnp.int32) - 1",
        "number = old.size + jnp.cumsum(jnp.ones_like(seen.is_valid), dtype=jnp.int32) - 1",
        (
            "tests/exploration/test_regression.py::test_data_are_numbered_as_they_come_however_they_are_batched[cells]",
        ),
    ),
    Mutant(
        "precision without the prior",
        "exploration/regression.py",
        "precision = statistics.visits / v + 1 / lambda_",
        "precision = jnp.maximum(statistics.visits, 1) / v",
        (
            "tests/exploration/test_regression.py::test_over_the_seeds_a_regression_is_a_sample_of_the_posterior[24-cells]",
        ),
    ),
    Mutant(
        "backup with the mean action",
        "exploration/planning.py",
        "_after(jnp.max(q, axis=1)",
        "_after(jnp.mean(q, axis=1)",
        ("tests/exploration/test_planning.py::test_from_zero_it_finds_the_best_of_all_plans",),
    ),
    Mutant(
        "optimism on known edges",
        "exploration/beliefs.py",
        "deviation = jnp.where(belief.is_known, 0, jnp.asarray(graph.deviation))",
        "deviation = jnp.asarray(graph.deviation)",
        ("tests/exploration/test_beliefs.py::test_optimism_adds_deviations_to_unknown_edges_only",),
    ),
    Mutant(
        "one seed for all agents",
        "exploration/beliefs.py",
        "jax.random.fold_in(belief.seed_key, agent)",
        "jax.random.fold_in(belief.seed_key, 0 * agent)",
        (
            "tests/agents/test_tabular.py::test_half_of_the_agents_go_each_way_and_none_knows_of_another",
        ),
    ),
    Mutant(
        "PSRL adapts",
        "agents/tabular.py",
        "belief = params.belief if params.prior is None else params.prior",
        "belief = params.belief",
        ("tests/agents/test_tabular.py::test_psrl_never_adapts_and_seed_sampling_does",),
    ),
    Mutant(
        "Thompson sampling draws the same at each action",
        "agents/tabular.py",
        "jax.random.fold_in(key, agent)",
        "jax.random.fold_in(jax.random.key(0), agent)",
        (
            "tests/agents/test_tabular.py::test_thompson_sampling_is_seed_sampling_whose_seed_is_drawn_at_each_action",
        ),
    ),
    Mutant(
        "every second event skipped",
        "runtime/simulator.py",
        "return Progress(tick + 1, state, agents)",
        "return Progress(tick + 2, state, agents)",
        (
            "tests/runtime/test_simulator.py::test_every_world_is_what_happens_event_by_event[poisson-None]",
        ),
    ),
    Mutant(
        "those that do not act give data",
        "runtime/turn.py",
        "jnp.where(acts, rows.timestep.step_type, jnp.int8(LAST))",
        "jnp.where(acts, rows.timestep.step_type, jnp.int8(1))",
        (
            "tests/runtime/test_simulator.py::test_an_update_sees_the_rows_that_acted_and_no_other[poisson-None]",
        ),
    ),
    Mutant(
        "models of two axes come back in another order",
        "exploration/planning.py",
        "q.reshape(*q.shape[:-1], before, size)",
        "q.reshape(*q.shape[:-1], size, before).swapaxes(-1, -2)",
        (f"{PLANNING}::test_two_axes_of_models_are_planned_as_each_alone",),
    ),
    Mutant(
        "the step size scales the reward only",
        "exploration/planning.py",
        "step_size * discount * mdp.probability",
        "discount * mdp.probability",
        (f"{PLANNING}::test_a_small_step_goes_part_of_the_way",),
    ),
    Mutant(
        "all models share the first one's noise",
        "agents/seed_model.py",
        "gaussian(seeds.noise, number, datum)",
        "gaussian(seeds.noise, 0, datum)",
        (f"{ENSEMBLE}::test_updates_equal_a_loop_over_gradient_steps[plain]",),
    ),
    Mutant(
        "targets without the prior",
        "agents/seed_model.py",
        "q_t = self._evaluate(target, data.next_observation) + next_prior_q",
        "q_t = self._evaluate(target, data.next_observation)",
        (f"{ENSEMBLE}::test_updates_equal_a_loop_over_gradient_steps[plain]",),
    ),
    Mutant(
        "each of a model's networks learns from its own values",
        "agents/seed_model.py",
        "jnp.roll(x, -1, axis=0)",
        "x",
        (f"{ENSEMBLE}::test_updates_equal_a_loop_over_gradient_steps[mixed]",),
    ),
    Mutant(
        "values that rewards do not allow are bootstrapped",
        "agents/seed_model.py",
        "jnp.clip(q_t, *config.value_range)",
        "q_t",
        (f"{ENSEMBLE}::test_updates_equal_a_loop_over_gradient_steps[bounded]",),
    ),
    Mutant(
        "rewarded data are numbered anew at each update",
        "exploration/experience.py",
        "experience.everything.size + jnp.cumsum",
        "jnp.cumsum",
        (f"{EXPERIENCE}::test_parts_are_drawn_from_all_the_newest_and_the_rewarded",),
    ),
    Mutant(
        "actors share their agents' numbers",
        "runtime/run.py",
        "itemgetter(i)",
        "itemgetter(0)",
        ("tests/runtime/test_train.py::test_the_actors_states_are_parts_of_one_team",),
    ),
    Mutant(
        "the rail's end pushes the wrong way",
        "environments/swingup.py",
        "push -= jnp.where(depth > 0, outwards * stop, 0)",
        "push += jnp.where(depth > 0, outwards * stop, 0)",
        ("tests/environments/test_environments_swingup.py::test_one_step_is_mujocos",),
    ),
    Mutant(
        "a deterministic run acts by the newest parameters",
        "runtime/schedule.py",
        "return self._server.at(max(0, batch - self._lag))",
        "return self._server.latest()",
        (
            f"{DETERMINISTIC}::test_two_runs_are_bit_equal_whatever_the_timing[impala-4_unrolls_a_batch]",
        ),
    ),
    Mutant(
        "the entropy's derivative forgets the entropy",
        "losses/categorical.py",
        "jnp.where(weights > 0, shifted, 0) - _mean_shifted(logits)",
        "jnp.where(weights > 0, shifted, 0)",
        ("tests/losses/test_policies.py",),
    ),
    Mutant(
        "actions of one compiled unroll are those of the last one",
        "runtime/playing.py",
        "now.steps + length",
        "now.steps",
        ("tests/runtime/test_played_unrolls.py::test_it_is_what_steps_make[recurrent]",),
    ),
    Mutant(
        "a resumed actor draws its actions anew",
        "runtime/actor.py",
        "self._now._replace(steps=steps)",
        "self._now._replace(steps=0)",
        (TWO_PARTS,),
    ),
    Mutant(
        "a resumed run forgets the parameters before the newest",
        "runtime/run.py",
        "held)[:-1]",
        "held)[1:]",
        (TWO_PARTS,),
    ),
    Mutant(
        "a resumed environment starts new episodes",
        "environments/functional.py",
        "self._key, self._state = state[0], _BatchState(*state[1])",
        "self._key = state[0]",
        (TWO_PARTS,),
    ),
    Mutant(
        "what a given-up environment says is handed over",
        "runtime/actor.py",
        "self.check_stopped()\n                        queue.put(unroll)",
        "queue.put(unroll)",
        ("tests/runtime/test_faults.py::test_an_environment_that_hangs_is_made_anew[False]",),
    ),
    Mutant(
        "the lag is 1 whatever it is set to",
        "runtime/schedule.py",
        "batch - self._lag",
        "batch - 1",
        (f"{DETERMINISTIC}::test_the_lag_is_as_it_is_set[3]",),
    ),
    Mutant(
        "gradients of several actors averaged where losses are summed",
        "agents/a3c.py",
        'jnp.sum if config.reduction == "sum" else jnp.mean',
        "jnp.mean",
        ("tests/runtime/test_a3c.py::test_an_update_is_a_step_by_the_stale_gradient[sum]",),
    ),
    Mutant(
        "A3C's gradients are at the newest parameters",
        "runtime/actor.py",
        "self._digest(params, trajectory)",
        "self._digest(self._parameters(None).params, trajectory)",
        ("tests/runtime/test_a3c.py::test_with_old_ones_it_is_not",),
    ),
    Mutant(
        "a reward on the step that begins an episode counts",
        "environments/gym.py",
        "np.where(starts, 0.0, rewards)",
        "rewards",
        (
            "tests/environments/test_environments_contract.py"
            "::test_a_reward_on_the_step_that_begins_anew_changes_nothing[gymnasium-gym:CartPole-v1]",
        ),
    ),
    Mutant(
        "V-trace corrects where it was told not to",
        "agents/actor_critic.py",
        'behaviour if config.correction == "vtrace" else',
        "behaviour if True else",
        (
            "tests/runtime/test_a3c.py"
            "::test_without_correction_what_the_behaviour_was_does_not_matter",
        ),
    ),
    Mutant(
        "the memory chain shows its context a step late",
        "environments/memory_chain.py",
        "jnp.where(time == 0, 2.0",
        "jnp.where(time == 1, 2.0",
        ("tests/environments/test_environments_memory_chain.py::test_an_episode_is_bsuites",),
    ),
    Mutant(
        "numbers that are none are passed on",
        "runtime/unroll.py",
        'for name in ("reward", "discount", "observation"):',
        'for name in ("reward", "discount"):',
        ("tests/runtime/test_faults.py::test_a_fault_ends_the_run[observation]",),
    ),
    Mutant(
        "the current fails once in N + 1 times",
        "environments/deep_sea.py",
        "> 1 / self.size",
        "> 1 / (self.size + 1)",
        (f"{DEEP_SEA}::test_currents_and_noise_are_what_they_should_be",),
    ),
    Mutant(
        "two cells of deep sea have one number",
        "environments/deep_sea.py",
        "row * (row + 1) // 2 + state.column",
        "row * row // 2 + state.column",
        (f"{DEEP_SEA}::test_a_cell_is_where_the_grid_shows_the_diver",),
    ),
    Mutant(
        "the ticks that are left after the last whole unroll are dropped",
        "runtime/simulator.py",
        "int(horizon) % unroll",
        "int(horizon) % 1",
        ("tests/runtime/test_simulator.py::test_arguments_out_of_range_are_named",),
    ),
    Mutant(
        "the first deviation of a Gaussian policy is the middle of its range",
        "networks/actor_critic.py",
        "nn.sigmoid(log_std + first)",
        "nn.sigmoid(log_std)",
        (
            "tests/networks/test_networks_actor_critic.py"
            "::test_the_log_standard_deviation_is_bounded_and_no_function_of_the_state",
        ),
    ),
    Mutant(
        "nothing bounds a Gaussian policy's mean",
        "networks/actor_critic.py",
        "mean = nn.tanh(nn.Dense(",
        "mean = (nn.Dense(",
        ("tests/networks/test_networks_actor_critic.py::test_the_mean_is_bounded",),
    ),
    Mutant(
        "every restart is the first one again",
        "runtime/simulator.py",
        "threefry.fold_in(world.restart_key, tick)",
        "world.restart_key",
        (
            "tests/runtime/test_simulator.py"
            "::test_who_restarts_has_one_episode_after_the_other[two at once]",
        ),
    ),
    Mutant(
        "what is saved loses the types that numpy does not know",
        "runtime/arrays.py",
        "return data.view(to_numpy(like).dtype)",
        "return data",
        ("tests/runtime/test_arrays.py::test_arrays_of_all_types_are_read_as_they_were",),
    ),
    Mutant(
        "a checkpoint of other shapes is read",
        "runtime/checkpoint.py",
        "if has != needs:",
        "if False:",
        ("tests/runtime/test_arrays.py::test_another_shape_or_type_is_refused",),
    ),
    Mutant(
        "members share the first one's noise",
        "agents/seeded_member.py",
        "gaussian(noise_key, number, rows.number)",
        "gaussian(noise_key, 0 * number, rows.number)",
        (f"{SEEDED}::test_every_member_learns_from_all_data_under_its_own_seed[1]",),
    ),
    Mutant(
        "restarts of episodes take a number of the seeds' noise",
        "agents/seeded_impala.py",
        "jnp.cumsum(valid, dtype=jnp.int32)",
        "jnp.cumsum(jnp.ones_like(valid), dtype=jnp.int32)",
        (f"{SEEDED}::test_every_member_learns_from_all_data_under_its_own_seed[1]",),
    ),
    Mutant(
        "replayed unrolls are fitted to targets of the parameters that learn",
        "agents/seeded_member.py",
        "self.outputs(acting, batch.observation, frozen)",
        "self.outputs(own.params, batch.observation, frozen)",
        (f"{SEEDED}::test_with_replay_members_fit_their_values_to_targets_of_those_that_act",),
    ),
    Mutant(
        "with replay members act by what they have just learnt",
        "agents/seeded_impala.py",
        "optax.incremental_update(own.params, acting, self.config.target_rate)",
        "own.params",
        (f"{SEEDED}::test_with_replay_members_fit_their_values_to_targets_of_those_that_act",),
    ),
    Mutant(
        "unrolls with a reward are not kept apart",
        "agents/unroll_memory.py",
        "is_transition & (rows.batch.reward > 0)",
        "is_transition",
        ("tests/agents/test_unroll_memory.py::test_unrolls_with_a_reward_are_drawn_once_more",),
    ),
    Mutant(
        "a Boltzmann policy learns of an action by its importance weight",
        "losses/boltzmann.py",
        "q_tm1, corrected.action_values,",
        "q_tm1, v_tm1 + corrected.advantages,",
        (
            "tests/losses/test_boltzmann.py::test_an_action_that_the_policy_would_hardly_take_is_learnt_like_any_other",
        ),
    ),
    Mutant(
        "a row alone copies the ring",
        "exploration/replay.py",
        "if len(row) == 1:",
        "if not len(row):",
        (
            "tests/exploration/test_replay.py::test_a_device_writes_into_its_ring_and_copies_nothing_of_it[1]",
        ),
    ),
    Mutant(
        "of several devices' observations only one's are counted",
        "agents/normalization.py",
        "len(x) * jax.lax.axis_size(axis_name)",
        "len(x)",
        ("tests/agents/test_normalization.py::test_devices_count_what_all_of_them_see",),
    ),
    Mutant(
        "each pixel has a deviation of its own",
        "agents/normalization.py",
        "if deviation.ndim == 3:",
        "if deviation.ndim == 4:",
        ("tests/agents/test_normalization.py::test_an_image_has_one_deviation",),
    ),
    Mutant(
        "the mean's move is left out of the variance",
        "agents/normalization.py",
        "(within + between) / number",
        "within / number",
        (
            "tests/agents/test_normalization.py::test_the_agent_sees_deviations_from_the_mean_of_all_there_was",
        ),
    ),
    Mutant(
        "actors share a key",
        "runtime/run.py",
        'named_key(key, "actor", first + i)',
        'named_key(key, "actor")',
        ("tests/runtime/test_streams.py::test_actors_that_see_the_same_act_by_keys_of_their_own",),
    ),
]
