#!/bin/bash
# A Ray cluster on the nodes of one Slurm job, and `masksr cluster` on it. From the project, on a shared file system:
#
#     sbatch --nodes=4 --gpus-per-node=8 --cpus-per-task=64 --time=24:00:00 masksr/cluster.sh
#
# What comes after the script goes to `masksr cluster`, such as the names of stages. A job that runs out of time leaves
# what is finished, and trainings at their last checkpoint: submit it again, or run `dvc repro`.
#SBATCH --job-name=masksr
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --signal=B:TERM@120
set -euo pipefail

cd "${SLURM_SUBMIT_DIR:-.}"
if [ -f .venv/bin/activate ]; then . .venv/bin/activate; fi

python=$(command -v python)
if [[ $python == *" "* ]]; then # a server of Ray's head is started by an unquoted command line, and takes the head along
  echo "Ray does not start where the path of Python has a space ($python): make the environment under another path" >&2
  exit 1
fi

export RAY_USAGE_STATS_ENABLED=0
# Who else uses these nodes must not be able to give this Ray orders: a password for this job, which srun passes on.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
port=$((20000 + SLURM_JOB_ID % 20000)) # two jobs may share a machine
cpus=${SLURM_CPUS_PER_TASK:-$(nproc)}
gpus=${SLURM_GPUS_ON_NODE:-0}
folder=/tmp/masksr-ray-$SLURM_JOB_ID # short, for the names of sockets, and on each node its own

# shellcheck disable=SC2317
finish() {
  trap - EXIT TERM INT
  if [ -n "${driver:-}" ]; then
    kill -TERM "$driver" 2>/dev/null || true # its stages end in order first
    wait "$driver" || true
  fi
  local node
  for node in "${!started[@]}"; do # the head, which is the first, last: the others tell it that they leave
    kill "${started[-1 - node]}" 2>/dev/null || true
    wait "${started[-1 - node]}" || true
  done
}
trap finish EXIT
trap 'finish; exit 143' TERM INT

started=()
ray_start() { # NODE OPTIONS...
  local node=$1
  shift
  srun --nodes=1 --ntasks=1 --nodelist="$node" --cpus-per-task="$cpus" \
    bash -c 'umask 077; trap "rm -rf $0" EXIT; mkdir -p "$0"; "$@"' "$folder" \
    python -m ray.scripts.scripts start --block --num-cpus="$cpus" --num-gpus="$gpus" --disable-usage-stats "$@" &
  started+=($!)
}

address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')
ray_start "$head" --head --node-ip-address="$address" --port="$port" --include-dashboard=false --temp-dir="$folder"
for _ in $(seq 60); do
  if python -m ray.scripts.scripts status --address "$address:$port" >/dev/null 2>&1; then break; fi
  if ! kill -0 "${started[0]}" 2>/dev/null; then
    echo "Ray ended on $head before it had begun; what it said stands above" >&2
    exit 1
  fi
  sleep 2
done
for node in "${nodes[@]:1}"; do
  ray_start "$node" --address="$address:$port"
done

python -m masksr cluster --address "$address:$port" "$@" &
driver=$!
status=0
wait "$driver" || status=$?
driver=
exit "$status"
