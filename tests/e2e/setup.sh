#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# setup.sh - what the end-to-end tests need from the package registries: pytest, the vendors' SDKs
# and a Node that runs the JavaScript one. Prints the directory that holds them:
#
#   DIR/venv           Python environment of requirements.txt; its bin/ has node and npm
#   DIR/node_modules   of node/package-lock.json
#
# The directory is named by the checksum of the pins, lies in the user's cache and is made in one
# step: a second clone does not pay again. Called by runtests and by hand; knows nothing of the build.
set -euo pipefail
here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
die() { echo "setup.sh: $*" >&2; exit 1; }

cache=${XDG_CACHE_HOME:-${HOME:-}/.cache}
case $cache in /.cache) die "neither XDG_CACHE_HOME nor HOME is set" ;; /*) ;; *) die "XDG_CACHE_HOME must be absolute" ;; esac
python=/usr/bin/python3
[ -x $python ] || python=$(command -v python3) || die "python3 is needed"
sum=$(cat "$here/requirements.txt" "$here/node/package.json" "$here/node/package-lock.json" - <<<"$($python --version)" |
	sha256sum | cut -c1-16)
dir=$cache/tokenfactory/test-$sum
if [ ! -f "$dir/done" ]; then
	mkdir -p "$cache/tokenfactory"
	exec 9>"$cache/tokenfactory/.test.lock"
	flock 9
fi
if [ ! -f "$dir/done" ]; then
	# a virtual environment holds absolute paths: it is made where it stays, "done" says that it is whole
	rm -rf "$dir"
	mkdir "$dir"
	log=$dir/setup.log
	echo "setup.sh: installing the SDKs into $dir" >&2
	{ "$python" -m venv "$dir/venv" &&
		"$dir/venv/bin/pip" --disable-pip-version-check install --no-compile --only-binary :all: --no-deps \
			-r "$here/requirements.txt" &&
		cp "$here/node/package.json" "$here/node/package-lock.json" "$dir/" &&
		(cd "$dir" && PATH=$dir/venv/bin:$PATH "$dir/venv/bin/npm" ci --ignore-scripts --no-audit --no-fund); } \
		>"$log" 2>&1 9>&- </dev/null || { tail -n 20 "$log" >&2; die "the installation failed ($log)"; }
	touch "$dir/done"
fi
echo "$dir"
