#!/bin/bash
# A search on several nodes of a Slurm cluster: sbatch docs/cluster/slurm.sh lpo-catch --name mine
# The home folder and the environment below must be on a file system that all nodes share. This script was not
# run on a Slurm cluster; docs/operations.md says what was tested.

#SBATCH --job-name=discovery
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=12:00:00
#SBATCH --output=discovery-%j.log

set -euo pipefail
source "${DISCOVERY_VENV:-$PWD/.venv}/bin/activate"

# Anyone who knows the token can run code on the nodes; only you can read its file.
export RAY_AUTH_MODE=token
umask 077
ray get-auth-token --generate > /dev/null

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((6379 + SLURM_JOB_ID % 1000))
cores=$(lscpu -p=core,socket | grep -v '^#' | sort -u | wc -l) # hyperthreads make trainings no faster

# Nodes with GPUs: add #SBATCH --gpus-per-node=4, and give the search --gpu-workers 16 for 16 workers with a GPU each.
# Ray starts on every node, the command runs on the first one, and everything ends with the command. To continue a job
# that ran out of time: DISCOVERY_VERB=resume sbatch docs/cluster/slurm.sh mine
srun --cpu-bind=none ray symmetric-run --address "$head:$port" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus "$cores" -- \
    discovery "${DISCOVERY_VERB:-search}" "$@" --address auto --executor ray
