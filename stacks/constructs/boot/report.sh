#!/bin/bash
# report.sh ready|failed: answer the lifecycle hook and CloudFormation; send the boot log to CloudWatch Logs.
# A failure is answered with ABANDON: the instance goes, and its log stays.
set -uo pipefail
ROOT=${DEPLOYER_ROOT:-/opt/deployer}
LOG=${DEPLOYER_LOG:-/var/log/deployer-boot.log}
IMDS=${DEPLOYER_IMDS:-http://169.254.169.254}
OUTCOME=$1
if [ -f "$ROOT/settings" ]; then . "$ROOT/settings"; fi
export AWS_DEFAULT_REGION=$REGION AWS_MAX_ATTEMPTS=5 AWS_RETRY_MODE=standard AWS_PAGER=

metadata() {
  local token
  token=$(curl -sf -m 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$IMDS/latest/api/token") || return 1
  curl -sf -m 5 -H "X-aws-ec2-metadata-token: $token" "$IMDS/latest/meta-data/$1"
}

INSTANCE=$(metadata instance-id) || { echo "report: the instance metadata cannot be read"; exit 1; }
STATE=$(metadata autoscaling/target-lifecycle-state || echo unknown)

send_log() {
  local stream="boot/$INSTANCE"
  aws logs create-log-stream --log-group-name "$LOG_GROUP" --log-stream-name "$stream" 2> /dev/null
  python3 -c 'import json, sys, time
lines = open(sys.argv[1], errors="replace").read().splitlines()[-500:] or ["the boot log is empty"]
now = int(time.time() * 1000)
print(json.dumps([{"timestamp": now, "message": line[:8000] or " "} for line in lines]))' "$LOG" |
    aws logs put-log-events --log-group-name "$LOG_GROUP" --log-stream-name "$stream" \
      --log-events file:///dev/stdin > /dev/null || echo "report: the log could not be sent"
}

answer_hook() {
  aws autoscaling complete-lifecycle-action --auto-scaling-group-name "$GROUP" \
    --lifecycle-hook-name "$1" --instance-id "$INSTANCE" --lifecycle-action-result "$2"
}

signal_stack() {
  # Refused when the stack waits for nothing: then there is nobody to tell.
  aws cloudformation signal-resource --stack-name "$STACK" --logical-resource-id Group \
    --unique-id "$INSTANCE" --status "$1" 2> /dev/null || true
}

send_log
case $OUTCOME in
  ready)
    answer_hook launching CONTINUE || echo "report: no launch waits for an answer"
    if [ "$STATE" = InService ]; then signal_stack SUCCESS; fi
    ;;
  failed)
    signal_stack FAILURE
    answer_hook launching ABANDON || echo "report: no launch waits for an answer"
    ;;
esac
