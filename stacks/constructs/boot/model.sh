#!/bin/bash
# Start the container in the foreground of its unit. It is on a bridge, two hops from the metadata service, which
# answers one: it has no credentials. The queue's worker, which needs them, is on the host's network.
set -euo pipefail
ROOT=${DEPLOYER_ROOT:-/opt/deployer}
. "$ROOT/settings"
docker rm -f deployer-model > /dev/null 2>&1 || true
NETWORK=(--publish 8080:8080)
if [ -n "$QUEUE" ]; then NETWORK=(--network host); fi
read -ra ARGUMENTS <<< "$SERVE"
exec docker run --name deployer-model --rm --init=false "${NETWORK[@]}" \
  --env-file "$ROOT/container.env" --stop-timeout "$STOP_S" --read-only --tmpfs /tmp --shm-size 256m \
  --volume "$ROOT/model:/opt/ml/model:ro" --cap-drop ALL --security-opt no-new-privileges \
  --log-driver awslogs --log-opt "awslogs-region=$REGION" --log-opt "awslogs-group=$LOG_GROUP" \
  --log-opt "tag=server/{{.ID}}" --log-opt awslogs-format=json/emf \
  "$IMAGE" "${ARGUMENTS[@]}"
