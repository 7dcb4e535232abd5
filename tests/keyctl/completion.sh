#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The shipped bash completion, asked as bash asks it: words, of which the last is incomplete.
set -u
. "${top_srcdir:-.}/packaging/bash-completion/keyctl"

failed=0
expect() {
	local want=$1
	shift
	COMP_WORDS=(keyctl "$@")
	COMP_CWORD=$#
	COMPREPLY=()
	_keyctl
	if [ "${COMPREPLY[*]}" != "$want" ]; then
		echo "keyctl $*: got '${COMPREPLY[*]}', want '$want'"
		failed=1
	fi
}

expect 'config' con
expect 'budget cap create list set-plan show' workspace ''
expect 'rotate' key ro
expect '--workspace' key mint --w
expect 'prod stag dev' key mint --env ''
expect 'sk-oais' key mint --workspace main --form s
expect '' key mint --name ''
expect '--grace' key rotate 01K --g
expect 'day week month all' usage --period ''
expect 'model' --json usage --by m
expect 'export' usage ex
expect 'csv jsonl' usage export --format ''
expect 'limit list' --run-dir /tmp key l
expect '--workspace' topup list --w
expect '--money' topup main --m
expect 'debug' log gatewayd d
expect 'bash' --completion ''
expect '/usr' -c /us
exit $failed
