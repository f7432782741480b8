# Bring one instance to where it serves, once, at its first start. What is above this line is set by the stack.
# Every step is timed; the first that fails ends it, with the reason and the log, and the instance goes.
set -Eeuo pipefail
umask 022
LOG=${DEPLOYER_LOG:-/var/log/deployer-boot.log}
ROOT=${DEPLOYER_ROOT:-/opt/deployer}
UNITS=${DEPLOYER_UNITS:-/etc/systemd/system}
export AWS_DEFAULT_REGION=$REGION AWS_MAX_ATTEMPTS=5 AWS_RETRY_MODE=standard AWS_PAGER=
exec > >(tee -a "$LOG") 2>&1

step() {
  local began=$EPOCHREALTIME name=$1
  shift
  NOW=$name
  "$@"
  awk -v a="$began" -v b="$EPOCHREALTIME" -v n="$name" 'BEGIN { printf "step %s: %.2f s\n", n, b - a }'
}

finish() {
  local code=$?
  trap - EXIT
  set +e
  [ "$code" = 0 ] && exit 0
  rm -rf "$ROOT/incoming" # a full disk must have room for the reason
  echo "FAILED in step ${NOW:-start} (exit $code)"
  sleep 0.2 # what tee has still to write
  "$ROOT/report.sh" failed
  exit 1
}
trap finish EXIT

write_settings() {
  local setting
  for setting in REGION STACK GROUP LOG_GROUP BUCKET KEY DIGEST IMAGE REGISTRY SERVE STOP_S BOOT_TIMEOUT_S QUEUE; do
    printf '%s=%q\n' "$setting" "${!setting}"
  done > "$ROOT/settings"
  chmod 755 "$ROOT"/*.sh
  (umask 077 && printf '%s' "$ENVIRONMENT" > "$ROOT/container.env")
}

fetch_bundle() {
  rm -rf "$ROOT/incoming" "$ROOT/model"
  mkdir -p "$ROOT/incoming/model"
  aws s3api get-object --bucket "$BUCKET" --key "$KEY" --expected-bucket-owner "$ACCOUNT" \
    --checksum-mode ENABLED "$ROOT/incoming/bundle.tar.gz" > /dev/null
}

verify_bundle() {
  python3 "$ROOT/verify.py" "$ROOT/incoming/bundle.tar.gz" "$DIGEST" "$ROOT/incoming/model"
  mv "$ROOT/incoming/model" "$ROOT/model"
  rm -rf "$ROOT/incoming"
}

install_docker() {
  if ! command -v docker > /dev/null; then
    dnf install -q -y docker
  fi
  systemctl enable --now docker
}

pull_image() {
  if [ -n "$REGISTRY" ]; then
    aws ecr get-login-password | docker login --username AWS --password-stdin "$REGISTRY"
  fi
  docker pull -q "$IMAGE"
  if [ -n "$REGISTRY" ]; then
    docker logout "$REGISTRY" > /dev/null
  fi
}

start_units() {
  systemctl daemon-reload
  systemctl enable deployer-model.service deployer-drain.service deployer-ready.service
  systemctl start --no-block deployer-model.service deployer-drain.service deployer-ready.service
}

step settings write_settings
step bundle fetch_bundle
step verify verify_bundle
step docker install_docker
step image pull_image
step units start_units
echo "boot: $((SECONDS)) s; deployer-ready.service waits until it serves"
