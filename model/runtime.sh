#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# runtime.sh - obtain and describe the CPU runtime (llama.cpp's HTTP server).
#
#   runtime.sh install      install it if need be; print the launcher's path
#   runtime.sh path         print the launcher's path; fails when not installed
#   runtime.sh command --model FILE [--host H] [--port P] [--alias ID]
#                      [--ctx N] [--slots N] [--threads N] [--embeddings]
#                           print the argv that runs it, one argument a line
#   runtime.sh ready-path   print the path whose 200 says that it is ready
#
# Called by quickstart and the tests; workerd's managed runtime executes what
# "command" prints, without a shell.  Knows nothing of the daemons' config.
#
# Which runtime.  A llama-server on PATH that runs is taken as it is.  Otherwise
# the PyPI wheel xllamacpp, which carries llama.cpp's own C++ HTTP server as a
# Python extension (model/llama-server.py starts it under llama-server's option
# names).  README.md holds the measurements of the candidates behind this choice.
#
# Where.  ${XDG_CACHE_HOME:-$HOME/.cache}/tokenfactory/runtime/<kind>-<version>/,
# made in a temporary directory and renamed, under a lock: a directory with
# that name is complete.  The launcher's name holds its checksum, so that a
# changed launcher is never mistaken for an older one, nor takes its place
# under a running system of another clone.
#
# Environment: TOKENFACTORY_RUNTIME=wheel ignores a llama-server on PATH.
# Exit status: 0; 1 cannot (the reason on stderr); 2 wrong usage.
set -eu

VERSION=2026.10.11549
# sha256 of the wheels, so that what runs is what was measured.
SHA_x86_64=c54e7d13520ecc989c63dc99d55de3065e2f343a91f43f053d16b5e62077c261
SHA_aarch64=e2a3e79e775515de4ad197e667f874070446ef9ac9cf2044bc9866bc4c72289e

here=$(CDPATH= cd "$(dirname "$0")" && pwd)

die() { echo "runtime.sh: $1" >&2; exit "${2:-1}"; }

cache_root() {
	if [ -n "${XDG_CACHE_HOME:-}" ]; then
		root=$XDG_CACHE_HOME
	elif [ -n "${HOME:-}" ]; then
		root=$HOME/.cache
	else
		die "neither XDG_CACHE_HOME nor HOME is set"
	fi
	case $root in /*) ;; *) die "the cache directory must be absolute: $root" ;; esac
	root=$root/tokenfactory/runtime
}

# Sets $launcher (the program) and $found (whether it is there).
locate() {
	found=yes
	if [ "${TOKENFACTORY_RUNTIME:-}" != wheel ]; then
		launcher=$(command -v llama-server || true)
		if [ -n "$launcher" ] && "$launcher" --version >/dev/null 2>&1; then
			return
		fi
	fi
	cache_root
	sum=$(cksum <"$here/llama-server.py")
	dir=$root/xllamacpp-$VERSION
	launcher=$dir/llama-server-${sum%% *}
	[ -x "$launcher" ] || found=no
}

# A Python of 3.10 or later; Debian's own first, for it outlives a user's shims.
find_python() {
	for python in /usr/bin/python3 python3; do
		python=$("$python" -c 'import sys
if sys.version_info >= (3, 10): print(sys.executable)' 2>/dev/null || true)
		[ -z "$python" ] || return 0
	done
	die "Python 3.10 or later is needed: apt-get install python3 python3-venv"
}

# Sets $pip to a command that runs pip: the interpreter's, or one of a venv.
find_pip() {
	if "$python" -m pip --version >/dev/null 2>&1; then
		pip=$python
	elif "$python" -m venv "$tmp/venv" >/dev/null 2>&1; then
		pip=$tmp/venv/bin/python
	else
		die "pip is needed to install the runtime: apt-get install python3-venv"
	fi
}

# The unpacked wheel in $tmp/new.
fetch_wheel() {
	machine=$(uname -m)
	case $machine in
	x86_64) sha=$SHA_x86_64 ;;
	aarch64) sha=$SHA_aarch64 ;;
	*) die "no prebuilt runtime for $machine: put llama.cpp's llama-server on PATH" ;;
	esac
	find_pip
	echo "xllamacpp==$VERSION --hash=sha256:$sha" >"$tmp/requirements.txt"
	echo "runtime.sh: installing llama.cpp (xllamacpp $VERSION) into $dir" >&2
	try=1
	until "$pip" -m pip --disable-pip-version-check install --quiet --no-deps --no-compile \
		--only-binary :all: --require-hashes --target "$tmp/new/lib" \
		-r "$tmp/requirements.txt" >"$tmp/pip.log" 2>&1 9>&-; do
		cat "$tmp/pip.log" >&2
		[ $try -lt 3 ] || die "pip could not install xllamacpp $VERSION"
		rm -rf "$tmp/new/lib"	# the index may be away for a minute
		sleep $((try * 10))
		try=$((try + 1))
	done
	write_launcher "$tmp/new/llama-server"
	"$tmp/new/llama-server" --version >"$tmp/run.log" 2>&1 9>&- ||
		{ cat "$tmp/run.log" >&2; die "the runtime does not start (libgomp1 and libstdc++6 are needed)"; }
	mv "$tmp/new/llama-server" "$tmp/new/${launcher##*/}"
}

write_launcher() {
	{
		echo "#!$python"
		sed 1d "$here/llama-server.py"
	} >"$1"
	chmod 755 "$1"
}

install_wheel() {
	command -v flock >/dev/null || die "flock is needed: apt-get install util-linux"
	mkdir -p "$root"
	exec 9>"$root/.lock"
	flock 9
	[ ! -x "$launcher" ] || return 0	# another run was faster
	rm -rf "$root"/.tmp.*			# a killed run's; we hold the lock
	tmp=$(mktemp -d "$root/.tmp.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	trap 'exit 1' HUP INT TERM
	find_python
	if [ -d "$dir" ]; then
		write_launcher "$tmp/launcher"
		mv "$tmp/launcher" "$launcher"
	else
		mkdir "$tmp/new"
		fetch_wheel
		mv "$tmp/new" "$dir"
	fi
}

number() {
	case $2 in
	'' | *[!0-9]* | 0?* | ????????*) die "$1: a number is needed, not '$2'" 2 ;;
	esac
}

print_command() {
	model= host=127.0.0.1 port=8080 alias= ctx=2048 slots=4 threads=1 embeddings=no
	while [ $# -gt 0 ]; do
		case $1 in
		--embeddings) embeddings=yes; shift; continue ;;
		--model | --host | --port | --alias | --ctx | --slots | --threads) ;;
		*) die "unknown option $1" 2 ;;
		esac
		[ $# -ge 2 ] || die "$1 needs a value" 2
		case $2 in
		*'
'*) die "$1: a line break cannot be passed" 2 ;;
		esac
		case $1 in
		--model) model=$2 ;;
		--host) host=$2 ;;
		--alias) alias=$2 ;;
		*) number "$1" "$2" ;;
		esac
		case $1 in
		--port) port=$2 ;;
		--ctx) ctx=$2 ;;
		--slots) slots=$2 ;;
		--threads) threads=$2 ;;
		esac
		shift 2
	done
	[ -n "$model" ] || die "--model is needed" 2
	[ "$port" -le 65535 ] && [ "$slots" -ge 1 ] && [ "$slots" -le 256 ] && [ "$threads" -ge 1 ] ||
		die "--port to 65535, --slots 1 to 256, --threads from 1" 2
	locate
	[ "$found" = yes ] || die "not installed: run $0 install"
	# The server divides its context among its slots; ours is per slot.
	printf '%s\n' "$launcher" --model "$model" --host "$host" --port "$port" \
		--ctx-size $((ctx * slots)) --parallel "$slots" --threads "$threads" --jinja
	[ -z "$alias" ] || printf '%s\n' --alias "$alias"
	[ "$embeddings" = no ] || printf '%s\n' --embeddings --pooling mean
}

verb=${1:-}
[ $# -eq 0 ] || shift
case $verb in
command)
	print_command "$@"
	;;
install | path | ready-path)
	[ $# -eq 0 ] || die "$verb takes no arguments" 2
	if [ "$verb" = ready-path ]; then
		echo /health
		exit 0
	fi
	locate
	if [ "$found" = no ]; then
		[ "$verb" = install ] || die "not installed: run $0 install"
		install_wheel
	fi
	echo "$launcher"
	;;
*)
	die "usage: runtime.sh install | path | command --model FILE ... | ready-path" 2
	;;
esac
