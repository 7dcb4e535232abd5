/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random valid JSON documents. Every kind of token that RFC 8259 allows comes up: all escapes,
 * surrogate pairs, UTF-8 of each length, every form of number, white space anywhere.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/json/gen.h"

static void
put(struct gen *g, const char *s)
{
	assert_int_equal(tf_buf_append(g->b, s, strlen(s)), 0);
}

uint64_t
gen_next(struct gen *g)
{
	g->x ^= g->x << 13;
	g->x ^= g->x >> 7;
	g->x ^= g->x << 17;
	return g->x * 0x2545f4914f6cdd1dull >> 8;
}

unsigned
gen_below(struct gen *g, unsigned n)
{
	return (unsigned)(gen_next(g) % n);
}

void
gen_space(struct gen *g)
{
	static const char *const spaces[] = { " ", "\n", "\t", "\r\n", "  ", "\n\t\t" };

	if (gen_below(g, 4) == 0)
		put(g, spaces[gen_below(g, TF_LEN(spaces))]);
}

void
gen_string(struct gen *g)
{
	static const char *const pieces[] = {
		"a", "model", "the quick brown fox jumps over it", " ", "\\\"", "\\\\", "\\/",
		"\\b\\f",
		"\\n", "\\r\\t", "\\u0041", "\\u00e9", "\\u20AC", "\\ud83d\\ude00", "\xc3\xa9",
		"\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xed\x9f\xbf", "\xee\x80\x80",
		"\xf4\x8f\xbf\xbf",
		"{}[]:,", "\x7f", "'", "0123456789abcdef0123456789abcdef", "\\u001f", "null",
	};
	unsigned n = gen_below(g, 6);

	put(g, "\"");
	while (n-- > 0)
		put(g, pieces[gen_below(g, TF_LEN(pieces))]);
	put(g, "\"");
}

static void
gen_digits(struct gen *g, unsigned max)
{
	unsigned n = 1 + gen_below(g, max);

	while (n-- > 0)
		put(g, (char[]){ (char)('0' + gen_below(g, 10)), '\0' });
}

static void
gen_number(struct gen *g)
{
	unsigned shape = gen_below(g, 6);

	if (gen_below(g, 3) == 0)
		put(g, "-");
	if (gen_below(g, 4) == 0) {
		put(g, "0");
	} else {
		put(g, (char[]){ (char)('1' + gen_below(g, 9)), '\0' });
		if (gen_below(g, 2))
			gen_digits(g, g->for_jsonc ? 16 : 30);
	}
	if (shape == 1 || shape == 2) {
		put(g, ".");
		gen_digits(g, 12);
	}
	if (shape == 2 || shape == 3) {
		static const char *const e[] = { "e", "E", "e+", "E-", "e-" };

		put(g, e[gen_below(g, TF_LEN(e))]);
		gen_digits(g, 2);
	}
}

static void
gen_container(struct gen *g, bool object)
{
	unsigned n = gen_below(g, 6);

	g->depth--;
	put(g, object ? "{" : "[");
	gen_space(g);
	for (unsigned i = 0; i < n; i++) {
		if (i > 0)
			put(g, ",");
		gen_space(g);
		if (object) {
			gen_string(g);
			gen_space(g);
			put(g, ":");
		}
		gen_value(g);
	}
	put(g, object ? "}" : "]");
	g->depth++;
}

void
gen_value(struct gen *g)
{
	gen_space(g);
	switch (gen_below(g, g->depth > 0 ? 9 : 5)) {
	case 0:
	case 1:
		gen_string(g);
		break;
	case 2:
	case 3:
		gen_number(g);
		break;
	case 4:
		put(g, gen_below(g, 3) ? gen_below(g, 2) ? "true" : "false" : "null");
		break;
	case 5:
	case 6:
		gen_container(g, false);
		break;
	default:
		gen_container(g, true);
		break;
	}
	gen_space(g);
}
