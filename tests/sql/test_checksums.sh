#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A shipped migration never changes: each file has its line in checksums, and still that content.
set -eu
top=${top_srcdir:-$(dirname "$0")/../..}
list=$top/tests/sql/checksums
bad=0 n=0
for f in "$top"/sql/*/[0-9]*.sql; do
	name=${f#"$top"/}
	is=$(sha256sum <"$f" | cut -d' ' -f1)
	want=$(awk -v f="$name" '$2 == f { print $1 }' "$list")
	n=$((n + 1))
	if [ -z "$want" ]; then
		echo "$name has no line in tests/sql/checksums; a new one is: $is $name"
		bad=1
	elif [ "$is" != "$want" ]; then
		echo "$name has changed since it was shipped: undo that and add a migration instead"
		bad=1
	fi
done
lines=$(grep -c . "$list")
if [ "$lines" -ne "$n" ]; then
	echo "$lines lines in tests/sql/checksums, but $n migrations"
	bad=1
fi
echo "$n migrations"
exit $bad
