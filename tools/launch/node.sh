#!/usr/bin/env bash
# One node's share of a training, under torchrun:  tools/launch/node.sh +experiment=stage1_gui +cluster=nodes ...
#
#   TRACER1_NODES=1           nodes in all
#   TRACER1_NODE_RANK=0       this one; a Kubernetes Job's JOB_COMPLETION_INDEX does as well
#   TRACER1_GPUS=8            processes on each node
#   MASTER_ADDR, MASTER_PORT  of node 0 (127.0.0.1, 29400)
#   TRACER1_PYTHON=python     the interpreter
#
# SIGTERM and SIGUSR1 go to the trainers, not to torchrun, which would kill them after 30 s: they finish their round. The exit code is
# theirs (src/tracer1/training/entry.py): 0 done, 2 a mistake, 75 run the same command again; anything else has failed.
set -euo pipefail

train=$(cd "$(dirname "$0")/../.." && pwd)/src/tracer1/train.py
TRACER1_EXIT_FILE=$(mktemp)
export TRACER1_EXIT_FILE
trap 'rm -f "$TRACER1_EXIT_FILE"' EXIT

"${TRACER1_PYTHON:-python}" -m torch.distributed.run \
  --nnodes "${TRACER1_NODES:-1}" --node-rank "${TRACER1_NODE_RANK:-${JOB_COMPLETION_INDEX:-0}}" \
  --nproc-per-node "${TRACER1_GPUS:-8}" --max-restarts 0 \
  --master-addr "${MASTER_ADDR:-127.0.0.1}" --master-port "${MASTER_PORT:-29400}" \
  "$train" "$@" &
launcher=$!

# shellcheck disable=SC2317 # the trap calls it
ask_trainers() {
  local children
  children=$(cat "/proc/$launcher/task/"*/children 2>/dev/null) || true
  # shellcheck disable=SC2086 # several process ids
  [[ -z $children ]] || kill -USR1 $children 2>/dev/null || true
}
trap ask_trainers TERM USR1

while true; do
  code=0
  wait "$launcher" || code=$?
  kill -0 "$launcher" 2>/dev/null || break # otherwise only a signal has ended the wait
done
said=$(cat "$TRACER1_EXIT_FILE")
exit "${said:-$code}"
