#!/bin/bash
# Watch, by IMDSv2, for what ends the instance: its spot notice, or the group's wish. Then SIGTERM to the server,
# which drains by itself, and the answer to the hook that waits. The serving container never calls AWS.
set -uo pipefail
ROOT=${DEPLOYER_ROOT:-/opt/deployer}
IMDS=${DEPLOYER_IMDS:-http://169.254.169.254}
POLL_S=${DEPLOYER_POLL_S:-2}
. "$ROOT/settings"
export AWS_DEFAULT_REGION=$REGION AWS_MAX_ATTEMPTS=5 AWS_RETRY_MODE=standard AWS_PAGER=
TOKEN=

token() {
  TOKEN=$(curl -sf -m 2 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 21600' "$IMDS/latest/api/token") || TOKEN=
}

# Prints the value; fails when there is none (404) and when the service does not answer, which is no notice.
metadata() {
  [ -n "$TOKEN" ] || token
  local answer code
  answer=$(curl -s -m 2 -w '\n%{http_code}' -H "X-aws-ec2-metadata-token: $TOKEN" "$IMDS/latest/meta-data/$1") || return 1
  code=${answer##*$'\n'}
  if [ "$code" = 401 ]; then TOKEN=; fi
  [ "$code" = 200 ] && printf '%s' "${answer%$'\n'*}"
}

ends() {
  local state
  if metadata spot/instance-action > /dev/null; then
    WHY="spot notice"
    return 0
  fi
  state=$(metadata autoscaling/target-lifecycle-state) || return 1
  WHY="the group wants $state"
  [[ $state == *Terminated ]]
}

while ! ends; do sleep "$POLL_S"; done
echo "drain: $WHY"
systemctl stop deployer-model.service
echo "drain: the server has ended after $((SECONDS)) s of watching"
INSTANCE=$(metadata instance-id) || exit 1
aws autoscaling complete-lifecycle-action --auto-scaling-group-name "$GROUP" --lifecycle-hook-name terminating \
  --instance-id "$INSTANCE" --lifecycle-action-result CONTINUE || echo "drain: no hook waits for an answer"
