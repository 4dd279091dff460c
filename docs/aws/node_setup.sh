#!/bin/bash
# Set up a node of cluster.yaml, or the image that nodes start from: the locked packages, raycolor, settings, warm caches.
# Idempotent, and quick where it has run before: an image made by bake_image.py skips all but raycolor itself.
#
#   bash node_setup.sh REGION [CHECKOUT]
set -euo pipefail
region=${1:?the region of the buckets}
checkout=${2:-$HOME/raycolor}
home=$HOME/.raycolor
python=$home/venv/bin/python
lock=$checkout/requirements-worker.lock

mkdir -p "$home"
if ! test -x "$home/uv/bin/uv"; then
  if ! python3 -c 'import ensurepip' 2>/dev/null; then
    # A fresh Ubuntu holds apt's lock for its own updates during the first minutes.
    apt="sudo DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq"
    $apt update
    $apt install -y python3-venv
  fi
  python3 -m venv "$home/uv"
  "$home/uv/bin/pip" install --quiet --disable-pip-version-check 'uv>=0.9'
fi
uv() { "$home/uv/bin/uv" "$@"; }
test -x "$python" || uv venv --quiet --python 3.11 "$home/venv"

# Seven gigabytes, or nothing where the image has them.
wanted=$(sha256sum < "$lock")
if test "$(cat "$home/installed" 2>/dev/null)" != "$wanted"; then
  uv pip install --quiet --python "$python" --require-hashes --requirements "$lock"
  echo "$wanted" > "$home/installed"
fi
package=$(ls "$checkout"/raycolor-*.whl 2>/dev/null | tail -1 || true)
uv pip install --quiet --python "$python" --no-deps --reinstall-package raycolor "${package:-$checkout}"

# botocore would give the instance's metadata one second and one try, too little for sixteen workers that start at once;
# on EC2 boto3 does not find the region by itself.
cat > "$home/env" <<EOF
. $home/venv/bin/activate
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
export AWS_DEFAULT_REGION=$region AWS_METADATA_SERVICE_TIMEOUT=5 AWS_METADATA_SERVICE_NUM_ATTEMPTS=5
EOF
touch "$HOME/.bashrc"
# At its top: Ubuntu's own .bashrc ends early where nobody types.
grep -q raycolor/env "$HOME/.bashrc" || sed -i "1i . $home/env" "$HOME/.bashrc" 2>/dev/null || true
grep -q raycolor/env "$HOME/.bashrc" || echo ". $home/env" >> "$HOME/.bashrc"

# Numba keeps compiled code beside the package, on this node: compiled once here instead of in every worker at once.
set +u
. "$home/env"
cd "$home"
python - "$checkout" <<'EOF'
import sys
from pathlib import Path

from raycolor import Colorizer

sample = Path(sys.argv[1]) / "docs" / "sample"
colorize = Colorizer("default", on_color="recolor")
for photograph in sorted(sample.iterdir())[:1]:
    colorize(photograph)
EOF
raycolor --version
