"""Scripts that a researcher runs: typed settings, wiring, plots. No algorithm lives here.

Commands, each `python -m experiments.<name> --help`: `impala`, `seed_td` and `seeded_impala` train;
`figure1`, `figure2` and `figure3` reproduce the papers' figures; `deep_sea` and `bsuite` measure
exploration, `lag`, `comparison` and `tasks` the actor-learner; `figures` redraws every picture.

Behind them, a training's: `experiment` (flags to a job), `config`, `job`, `trainings`. A sweep's:
`sweep`, `report`, `snapshots`, `curves`. What each runs: `deep_sea_agents`, `swingup_agents`,
`swingup_runs`. Pictures: `plots` and what ends in `_plots`.
"""
