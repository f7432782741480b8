#!/bin/bash
# At every start: wait until /ping answers 200, then answer the launch hook; give up after BOOT_TIMEOUT_S. A queue's
# worker has no /ping: it looks its queue up, loads its model, and says that it is ready.
set -uo pipefail
ROOT=${DEPLOYER_ROOT:-/opt/deployer}
LOG=${DEPLOYER_LOG:-/var/log/deployer-boot.log}
. "$ROOT/settings"
URL=${DEPLOYER_URL:-http://127.0.0.1:8080}
exec > >(tee -a "$LOG") 2>&1

serves() {
  if [ -n "$QUEUE" ]; then
    docker logs deployer-model 2>&1 | grep -q '"worker ready"'
  else
    [ "$(curl -s -m 5 -o /dev/null -w '%{http_code}' "$URL/ping")" = 200 ]
  fi
}

WELL="/ping answers 200"
if [ -n "$QUEUE" ]; then WELL="the worker says that it is ready"; fi
while ! serves; do
  if [ $((SECONDS)) -ge "$BOOT_TIMEOUT_S" ]; then
    echo "FAILED: not within $BOOT_TIMEOUT_S s: $WELL; the container said last:"
    docker logs --tail 50 deployer-model 2>&1 | sed 's/^/  /'
    "$ROOT/report.sh" failed
    exit 1
  fi
  sleep 1
done
echo "ready: $WELL after $((SECONDS)) s"
"$ROOT/report.sh" ready
