#!/bin/bash
# A search on several nodes of a Slurm cluster: sbatch docs/cluster/slurm.sh lpo-catch --name mine
# Home and the environment below must be on a file system that all nodes share. Not run on a Slurm cluster
# of ours: see docs/operations.md for what was.

#SBATCH --job-name=discovery
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=12:00:00
#SBATCH --output=discovery-%j.log

set -euo pipefail
source "${DISCOVERY_VENV:-$PWD/.venv}/bin/activate"

# Whoever knows the token may run code on the nodes; it lies in a file that only you can read.
export RAY_AUTH_MODE=token
umask 077
ray get-auth-token --generate > /dev/null

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((6379 + SLURM_JOB_ID % 1000))
cores=$(lscpu -p=core,socket | grep -v '^#' | sort -u | wc -l) # two trainings on one core are no faster

# Nodes with GPUs: #SBATCH --gpus-per-node=4, and 16 workers with one each by `--gpu-workers 16` of the search.
# Ray starts on every node, the command runs on the first one alone, and all ends with it. A job that ran out
# of time goes on with `discovery resume`: DISCOVERY_VERB=resume sbatch docs/cluster/slurm.sh mine
srun --cpu-bind=none ray symmetric-run --address "$head:$port" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus "$cores" -- \
    discovery "${DISCOVERY_VERB:-search}" "$@" --address auto --executor ray
