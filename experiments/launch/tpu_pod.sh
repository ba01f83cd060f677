#!/usr/bin/env bash
# One process a TPU host: experiments/launch/tpu_pod.sh <tpu name> <zone> <folder of the clone>
# The folder must be on a file system that all hosts share, such as a Filestore mount. The run goes on
# when the connection ends; each host logs to runs/<name>.<host>.log. To stop it: pkill -TERM -f
# experiments.impala on one host.
set -euo pipefail

TPU=$1 ZONE=$2 CLONE=$3 NAME=${NAME:-pong}
gcloud compute tpus tpu-vm ssh "$TPU" --zone "$ZONE" --worker=all --command "
    cd '$CLONE'
    if [ -e 'runs/$NAME/config.json' ]; then
        HOW='--resume runs/$NAME'
    else
        HOW='--name $NAME --environment atari:pong --total-steps 50000000 --batch-size 1024 \
            --actors 4 --environments-per-actor 32 --queue-capacity 2 --learner-devices 0 1 2 3'
    fi
    mkdir -p runs
    setsid nohup .venv/bin/python -m experiments.impala \$HOW --processes 0 --platform tpu \
        >> runs/$NAME.\$(hostname).log 2>&1 < /dev/null &"
