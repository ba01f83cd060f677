#!/usr/bin/env bash
# One process a GPU node, requeued after preemption: sbatch experiments/launch/slurm.sh
#SBATCH --job-name=expedition
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# SIGTERM comes 60 s before the end: the run saves and ends with 75 (143 if it had not begun), and
# the job queues again.
#SBATCH --signal=TERM@60
set -euo pipefail

NAME=${NAME:-pong}
RUN=runs/$NAME  # on a file system that all nodes share
if [ -e "$RUN/config.json" ]; then
    HOW=(--resume "$RUN")
else
    HOW=(--name "$NAME" --environment atari:pong --total-steps 50000000 --batch-size 1024
        --actors 4 --environments-per-actor 32 --queue-capacity 2 --learner-devices 0 1 2 3 4 5 6 7)
fi
# Processes, their numbers and the coordinator are read from SLURM. JAX would take one GPU a task.
export JAX_LOCAL_DEVICE_IDS=0,1,2,3,4,5,6,7
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" .venv/bin/python -m experiments.impala "${HOW[@]}" --processes 0 --platform gpu \
    --exit-code-when-stopped 75 && CODE=0 || CODE=$?
[[ "$CODE" =~ ^(75|143)$ ]] && scontrol requeue "$SLURM_JOB_ID"
exit "$CODE"
