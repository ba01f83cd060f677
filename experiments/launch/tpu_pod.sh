#!/usr/bin/env bash
# One process a TPU host: experiments/launch/tpu_pod.sh <tpu name> <zone> <folder of the clone>
# The folder must be on a file system that all hosts share, such as a Filestore mount.
set -euo pipefail

TPU=$1 ZONE=$2 CLONE=$3 NAME=${NAME:-pong}
gcloud compute tpus tpu-vm ssh "$TPU" --zone "$ZONE" --worker=all --command "
    cd '$CLONE'
    if [ -e 'runs/$NAME/config.json' ]; then
        HOW='--resume runs/$NAME'
    else
        HOW='--name $NAME --environment atari:pong --batch-size 1024 --learner-devices 0 1 2 3'
    fi
    exec .venv/bin/python -m experiments.impala \$HOW --processes 0 --platform tpu"
