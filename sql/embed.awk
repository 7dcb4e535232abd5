# SPDX-License-Identifier: Apache-2.0
# Turns migration files NNNN_name.sql into rows { number, "name", "text" } of a C table, in the order
# given. Comments and empty lines stay behind. Numbers must be 1, 2, 3 ...; anything else stops the build.
function fail(why) { print FILENAME ": " why > "/dev/stderr"; bad = 1; exit 1 }
function finish() { if (count) printf " },\n" }
BEGIN { print "/* Made by sql/embed.awk: do not edit. */" }
FNR == 1 {
	finish()
	base = FILENAME
	sub(/.*\//, "", base)
	if (base !~ /^[0-9][0-9][0-9][0-9]_[a-z0-9_]+\.sql$/) fail("not named NNNN_name.sql")
	if (substr(base, 1, 4) + 0 != ++count) fail("number out of order")
	name = substr(base, 6, length(base) - 9)
	printf "{ %d, \"%s\",", count, name
}
{
	line = $0
	sub(/[ \t]*--.*$/, "", line)
	if (line ~ /^[ \t]*$/) next
	gsub(/\\/, "\\\\", line)
	gsub(/"/, "\\\"", line)
	gsub(/\t/, "\\t", line)
	printf "\n\t\"%s\\n\"", line
}
END { if (!bad) finish() }
