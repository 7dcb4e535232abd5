/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame codec: golden vectors that must decode for ever, every message there and
 * back, and every kind of damage. The messages are filled from the same table as the
 * structs, so that a new row is tested by being written.
 *
 * WIRE_VECTORS_WRITE=FILE writes the vectors of this build's version to FILE.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/wire/wire.h"

static struct tf_buf arena[8]; /* entries of R fields, one a field of the message */

/* ---- filling and comparing, per field type -------------------------------------------------- */

static void
fill_U(uint64_t *v, unsigned n, const char *name)
{
	(void)name;
	*v = UINT64_C(0x0102030405060708) * n;
}
static void
same_U(uint64_t v, unsigned n, const char *name)
{
	uint64_t want;

	fill_U(&want, n, name);
	assert_int_equal(v, want);
}

static void
fill_S(struct tf_span *v, unsigned n, const char *name)
{
	(void)n;
	*v = tf_cspan(name);
}
static void
same_S(struct tf_span v, unsigned n, const char *name)
{
	(void)n;
	assert_true(tf_span_is(v, name));
}
#define fill_B fill_S
#define same_B same_S

static void
fill_R(struct wire_rep *v, unsigned n, const char *name)
{
	struct wire_model_rec model = { .id = tf_cspan(name), .needs = n };
	struct tf_buf *b = &arena[n % TF_LEN(arena)];

	tf_buf_reset(b);
	assert_int_equal(wire_rep_add(b, n, TF_SPAN("text")), 0);
	assert_int_equal(wire_rep_add_model_rec(b, n, &model), 0);
	*v = wire_rep_of(b, n);
}
static void
same_R(struct wire_rep v, unsigned n, const char *name)
{
	struct wire_model_rec model;
	struct tf_span e;

	assert_true(wire_next(&v, &e));
	assert_true(tf_span_is(e, "text"));
	assert_true(wire_next(&v, &e));
	assert_int_equal(wire_dec_model_rec(e, &model), 0);
	assert_true(tf_span_is(model.id, name));
	assert_int_equal(model.needs, n);
	assert_false(wire_has(&model, MODEL, context));
	assert_false(wire_next(&v, &e));
	assert_false(wire_next(&v, &e));
}

#define F(msg, num, type, name, need, help) fill_##type(&m->name, num, #name);
#define M(num, NAME, suffix, dir, help) \
	static void fill_##NAME(union wire_any *u) \
	{ \
		struct wire_##suffix *m = &u->suffix; \
\
		memset(u, 0, sizeof *u); \
		(void)m; \
		WIRE_FIELDS_##NAME(F) \
	}
WIRE_MESSAGES(M)
#undef M
#undef F
#define F(msg, num, type, name, need, help) \
	if (wire_has(m, msg, name) || (strict)) \
		same_##type(m->name, num, #name);
#define M(num, NAME, suffix, dir, help) \
	static void same_##NAME(const union wire_any *u, bool strict) \
	{ \
		const struct wire_##suffix *m = &u->suffix; \
\
		(void)m; \
		(void)strict; \
		WIRE_FIELDS_##NAME(F) \
	}
WIRE_MESSAGES(M)
#undef M
#undef F

static const struct {
	const char *name;
	unsigned verb;
	void (*fill)(union wire_any *);
	void (*same)(const union wire_any *, bool strict);
} rows[] = {
#define M(num, NAME, suffix, dir, help) { #NAME, num, fill_##NAME, same_##NAME },
	WIRE_MESSAGES(M)
#undef M
};

static const struct tf_id test_id = { { 0xa0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 } };

static void
encode(size_t row, struct tf_buf *b)
{
	union wire_any m;

	rows[row].fill(&m);
	assert_int_equal(wire_enc(b, rows[row].verb, &test_id, 7, &m, TF_SPAN("payload")), 0);
}

/* A copy that ends where its allocation ends, for the sanitizers. */
static int
try_decode(const char *p, size_t n, struct wire_frame *f, union wire_any *m)
{
	size_t used;
	int rc = wire_frame_read(tf_span(p, n), f, &used);

	if (rc == 0 && used != n)
		return TF_E_INVAL;
	return rc ? rc : wire_dec(f, m);
}

/* ---- tests -------------------------------------------------------------------------------- */

static void
test_round_trip(void **state)
{
	(void)state;
	for (size_t i = 0; i < TF_LEN(rows); i++) {
		struct tf_buf b = { 0 }, again = { 0 };
		struct wire_frame f;
		union wire_any m;

		encode(i, &b);
		assert_int_equal(try_decode(b.p, b.n, &f, &m), 0);
		assert_int_equal(f.verb, rows[i].verb);
		assert_int_equal(f.attempt, 7);
		assert_int_equal(f.seq, 0);
		assert_true(tf_id_eq(f.id, test_id));
		assert_true(tf_span_is(f.payload, "payload"));
		assert_string_equal(wire_verb_text(f.verb), rows[i].name);
		rows[i].same(&m, true);
		/* what was decoded can be encoded, R fields too, though they lie among others */
		assert_int_equal(wire_enc(&again, f.verb, &f.id, 7, &m, f.payload), 0);
		assert_true(tf_span_eq(tf_buf_span(&b), tf_buf_span(&again)));
		tf_buf_free(&b);
		tf_buf_free(&again);
	}
}

static size_t
row_of(const char *name)
{
	for (size_t i = 0; i < TF_LEN(rows); i++)
		if (strcmp(rows[i].name, name) == 0)
			return i;
	fail_msg("vector of unknown message %s", name);
	return 0;
}

/* Every vector ever shipped decodes; the newest of each message is what we write today. */
static void
test_vectors(void **state)
{
	char path[1024], *line = NULL, *newest[TF_LEN(rows)] = { 0 };
	const char *top = getenv("top_srcdir");
	size_t cap = 0, n = 0;
	FILE *in;

	(void)state;
	snprintf(path, sizeof path, "%s/tests/wire/vectors", top ? top : ".");
	in = fopen(path, "r");
	assert_non_null(in);
	while (getline(&line, &cap, in) > 0) {
		char name[64], *hex = malloc(strlen(line) + 1);
		struct wire_frame f;
		union wire_any m;
		char *bytes;
		size_t len, r;

		assert_non_null(hex);
		if (line[0] == '#') {
			free(hex);
			continue;
		}
		assert_int_equal(sscanf(line, "%*s %63s %s", name, hex), 2);
		r = row_of(name);
		len = strlen(hex) / 2;
		bytes = malloc(len);
		assert_non_null(bytes);
		assert_int_equal(tf_unhex(tf_cspan(hex), bytes, len), 0);
		assert_int_equal(try_decode(bytes, len, &f, &m), 0);
		assert_int_equal(f.verb, rows[r].verb);
		assert_true(tf_span_is(f.payload, "payload"));
		rows[r].same(&m, false);
		free(bytes);
		free(newest[r]);
		newest[r] = hex;
		n++;
	}
	fclose(in);
	free(line);
	assert_true(n >= TF_LEN(rows));
	for (size_t i = 0; i < TF_LEN(rows); i++) {
		struct tf_buf b = { 0 };
		char *hex;

		encode(i, &b);
		hex = malloc(b.n * 2 + 1);
		assert_non_null(hex);
		tf_hex(b.p, b.n, hex);
		if (newest[i] == NULL)
			fail_msg("no vector of %s", rows[i].name);
		assert_string_equal(hex, newest[i]);
		free(hex);
		free(newest[i]);
		tf_buf_free(&b);
	}
}

static void
test_truncated(void **state)
{
	(void)state;
	for (size_t i = 0; i < TF_LEN(rows); i++) {
		struct tf_buf b = { 0 };

		encode(i, &b);
		for (size_t n = 0; n < b.n; n++) {
			char *cut = malloc(n ? n : 1);
			struct wire_frame f;
			union wire_any m;

			assert_non_null(cut);
			memcpy(cut, b.p, n);
			assert_int_equal(try_decode(cut, n, &f, &m), TF_E_INVAL);
			free(cut);
		}
		tf_buf_free(&b);
	}
}

/* Builds a frame of verb around raw fields. */
static int
dec_raw(unsigned verb, struct tf_span fields, union wire_any *m)
{
	struct wire_frame f = { .verb = (uint8_t)verb, .fields = fields };

	return wire_dec(&f, m);
}

static void
test_fields(void **state)
{
	uint64_t v = 5, w = 6;
	struct tf_buf b = { 0 };
	union wire_any m;
	size_t keep;

	(void)state;
	/* required field missing */
	assert_int_equal(dec_raw(WIRE_CREDIT, tf_buf_span(&b), &m), TF_E_INVAL);
	assert_int_equal(wire_rep_add(&b, 1, tf_span(&v, 8)), 0);
	assert_int_equal(dec_raw(WIRE_CREDIT, tf_buf_span(&b), &m), 0);
	assert_int_equal(m.credit.limit, 5);
	/* unknown fields are skipped, small and large numbers, before and behind */
	assert_int_equal(wire_rep_add(&b, 2, TF_SPAN("newer")), 0);
	assert_int_equal(wire_rep_add(&b, 65535, TF_SPAN("")), 0);
	assert_int_equal(dec_raw(WIRE_CREDIT, tf_buf_span(&b), &m), 0);
	assert_int_equal(m.credit.limit, 5);
	/* twice */
	keep = b.n;
	assert_int_equal(wire_rep_add(&b, 1, tf_span(&w, 8)), 0);
	assert_int_equal(dec_raw(WIRE_CREDIT, tf_buf_span(&b), &m), TF_E_INVAL);
	b.n = keep;
	/* the second half of the number must be zero */
	b.p[2] = 1;
	assert_int_equal(dec_raw(WIRE_CREDIT, tf_buf_span(&b), &m), TF_E_INVAL);
	b.p[2] = 0;
	/* wrong size of a number */
	tf_buf_reset(&b);
	assert_int_equal(wire_rep_add(&b, 1, tf_span(&v, 4)), 0);
	assert_int_equal(dec_raw(WIRE_CREDIT, tf_buf_span(&b), &m), TF_E_INVAL);
	/* a number that is not used */
	assert_int_equal(dec_raw(15, tf_buf_span(&b), &m), TF_E_NOENT);
	assert_int_equal(dec_raw(255, tf_buf_span(&b), &m), TF_E_NOENT);
	assert_string_equal(wire_verb_text(15), "?");
	tf_buf_free(&b);
}

static void
test_optional(void **state)
{
	struct wire_end e = { .total = 3, .outcome = WIRE_OUTCOME_SERVED }, z = e;
	struct tf_buf b = { 0 }, c = { 0 };
	struct wire_frame f;
	union wire_any m;

	(void)state;
	assert_int_equal(wire_enc_end(&b, &test_id, 1, &e, tf_span(NULL, 0)), 0);
	wire_set(&z, END, prompt, 0);
	assert_int_equal(wire_enc_end(&c, &test_id, 1, &z, tf_span(NULL, 0)), 0);
	assert_int_equal(c.n, b.n + WIRE_TLV + 8);
	assert_int_equal(try_decode(b.p, b.n, &f, &m), 0);
	assert_false(wire_has(&m.end, END, prompt));
	assert_int_equal(try_decode(c.p, c.n, &f, &m), 0);
	assert_true(wire_has(&m.end, END, prompt));
	assert_int_equal(m.end.prompt, 0);
	tf_buf_free(&b);
	tf_buf_free(&c);
}

static void
test_text(void **state)
{
	static const struct {
		const char *s;
		bool ok;
	} cases[] = {
		{ "", true }, { "plain text of more than eight bytes", true }, { "caf\xc3\xa9", true },
		{ "12345678\xe2\x82\xac", true }, { "\xf0\x9f\x98\x80", true }, { "\xf4\x8f\xbf\xbf", true },
		{ "\xc0\xaf", false }, { "\xe0\x80\x80", false }, { "\xed\xa0\x80", false },
		{ "\xf4\x90\x80\x80", false }, { "\xf0\x80\x80\x80", false }, { "\xc3", false },
		{ "abc\xe2\x82", false }, { "\x80", false }, { "\xff", false }, { "\xe2\x28\xa1", false },
		{ "\xf0\x9f\x98", false },
	};

	(void)state;
	for (size_t i = 0; i < TF_LEN(cases); i++) {
		struct wire_refuse r = { .reason = tf_cspan(cases[i].s) };
		struct tf_buf b = { 0 };
		struct wire_frame f;
		union wire_any m;

		assert_int_equal(wire_enc_refuse(&b, NULL, 0, &r, tf_span(NULL, 0)), 0);
		assert_int_equal(try_decode(b.p, b.n, &f, &m), cases[i].ok ? 0 : TF_E_INVAL);
		tf_buf_free(&b);
	}
}

static void
test_bounds(void **state)
{
	char *big = calloc(1, WIRE_PAYLOAD_MAX + 1);
	struct wire_refuse r;
	struct tf_buf b = { 0 };
	struct wire_frame f;
	size_t used;
	uint32_t n;

	(void)state;
	assert_non_null(big);
	memset(big, 'x', WIRE_PAYLOAD_MAX + 1);
	r = (struct wire_refuse){ .reason = tf_span(big, WIRE_TEXT_MAX + 1) };
	assert_int_equal(wire_enc_refuse(&b, NULL, 0, &r, tf_span(NULL, 0)), TF_E_RANGE);
	assert_int_equal(b.n, 0);
	r.reason.n = WIRE_TEXT_MAX;
	assert_int_equal(wire_enc_refuse(&b, NULL, 0, &r, tf_span(big, WIRE_PAYLOAD_MAX)), 0);
	assert_int_equal(wire_frame_read(tf_buf_span(&b), &f, &used), 0);
	assert_int_equal(wire_enc_refuse(&b, NULL, 0, &r, tf_span(big, WIRE_PAYLOAD_MAX + 1)), TF_E_RANGE);
	assert_int_equal(b.n, used);
	/* lengths that lie */
	n = UINT32_MAX;
	memcpy(b.p + 8, &n, 4);
	assert_int_equal(wire_frame_read(tf_buf_span(&b), &f, &used), TF_E_INVAL);
	n = 0;
	memcpy(b.p + 8, &n, 4);
	n = WIRE_PAYLOAD_MAX + 1;
	memcpy(b.p + 12, &n, 4);
	assert_int_equal(wire_frame_read(tf_buf_span(&b), &f, &used), TF_E_INVAL);
	b.p[0] = 'X';
	assert_int_equal(wire_frame_read(tf_buf_span(&b), &f, &used), TF_E_INVAL);
	tf_buf_free(&b);
	free(big);
}

/* Frames follow each other in one message, and one of them can be patched in place. */
static void
test_joined_and_patch(void **state)
{
	struct wire_dispatch d = { .surface = TF_SPAN("s"), .deadline_ms = 30000, .prefix = TF_SPAN("abc") };
	struct tf_buf b = { 0 };
	struct wire_frame f;
	struct tf_span in;
	union wire_any m;
	size_t used, n = 0;

	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(wire_enc_dispatch(&b, &test_id, i, &d, TF_SPAN("body")), 0);
	for (in = tf_buf_span(&b); in.n > 0; in = tf_span(in.p + used, in.n - used), n++) {
		assert_int_equal(wire_frame_read(in, &f, &used), 0);
		assert_int_equal(f.attempt, n);
		assert_int_equal(f.raw.n, used);
	}
	assert_int_equal(n, 3);
	assert_int_equal(wire_patch(b.p, used, WIRE_FN_DISPATCH_deadline_ms, 77), 0);
	assert_int_equal(wire_frame_read(tf_span(b.p, used), &f, &used), 0);
	assert_int_equal(wire_dec(&f, &m), 0);
	assert_int_equal(m.dispatch.deadline_ms, 77);
	assert_true(tf_span_is(f.payload, "body"));
	assert_int_equal(wire_patch(b.p, used, WIRE_FN_DISPATCH_first_ms, 1), TF_E_NOENT);
	assert_int_equal(wire_patch(b.p, used, WIRE_FN_DISPATCH_prefix, 1), TF_E_NOENT);
	tf_buf_free(&b);
}

static void
test_directions(void **state)
{
	(void)state;
	assert_true(wire_allowed(WIRE_DISPATCH, WIRE_ROLE_GW, WIRE_ROLE_RT));
	assert_true(wire_allowed(WIRE_DISPATCH, WIRE_ROLE_RT, WIRE_ROLE_WK));
	assert_false(wire_allowed(WIRE_DISPATCH, WIRE_ROLE_GW, WIRE_ROLE_WK));
	assert_false(wire_allowed(WIRE_REJECT, WIRE_ROLE_WK, WIRE_ROLE_GW));
	assert_true(wire_allowed(WIRE_CANCEL, WIRE_ROLE_GW, WIRE_ROLE_WK));
	assert_true(wire_allowed(WIRE_HEARTBEAT, WIRE_ROLE_BL, WIRE_ROLE_GW));
	assert_false(wire_allowed(WIRE_GRANT, WIRE_ROLE_WK, WIRE_ROLE_GW));
	assert_false(wire_allowed(WIRE_GRANT, WIRE_ROLE_GW, WIRE_ROLE_BL));
	assert_false(wire_allowed(0, WIRE_ROLE_GW, WIRE_ROLE_BL));
	assert_false(wire_allowed(200, WIRE_ROLE_GW, WIRE_ROLE_BL));
	assert_string_equal(wire_role_text(WIRE_ROLE_WK), "workerd");
	assert_string_equal(wire_outcome_text(WIRE_OUTCOME_PARTIAL), "partial");
	assert_string_equal(wire_cancel_text(WIRE_CANCEL_SLOW_READER), "slow_reader");
	assert_string_equal(wire_key_status_text(WIRE_KEY_REVOKED), "revoked");
	assert_string_equal(wire_outcome_text(99), "?");
}

/* Random damage to a frame of every message: an answer, whatever it is, and nothing else. */
static void
test_damage(void **state)
{
	uint64_t x = 88172645463325252u;
	unsigned accepted = 0;

	(void)state;
	for (size_t i = 0; i < TF_LEN(rows); i++)
		for (unsigned round = 0; round < 2000; round++) {
			struct tf_buf b = { 0 };
			struct wire_frame f;
			union wire_any m;

			encode(i, &b);
			for (unsigned k = 0; k < 1 + round % 3; k++) {
				x ^= x << 13, x ^= x >> 7, x ^= x << 17;
				b.p[x % b.n] = (char)(x >> 32);
			}
			accepted += try_decode(b.p, b.n, &f, &m) == 0;
			tf_buf_free(&b);
		}
	assert_true(accepted > 0);
}

static void
test_stream(void **state)
{
	struct wire_rx r = { .window = 100, .limit = 100 };
	struct wire_tx t = { .limit = 100 };

	(void)state;
	assert_int_equal(wire_tx_room(&t), 100);
	t.sent = 60;
	assert_int_equal(wire_rx_data(&r, 0, 60), 0);
	assert_int_equal(wire_rx_data(&r, 59, 1), TF_E_PROTO); /* again */
	assert_int_equal(wire_rx_data(&r, 61, 1), TF_E_PROTO); /* gap */
	assert_int_equal(wire_rx_data(&r, 60, 41), TF_E_PROTO); /* more than granted */
	assert_false(wire_rx_credit(&r, 60)); /* nothing was read */
	assert_false(wire_rx_credit(&r, 11)); /* 49: not worth a frame */
	assert_false(wire_rx_credit(&r, 200));
	assert_true(wire_rx_credit(&r, 10));
	assert_int_equal(r.limit, 150);
	assert_true(wire_tx_credit(&t, 150));
	assert_false(wire_tx_credit(&t, 150)); /* repeated */
	assert_false(wire_tx_credit(&t, 120)); /* late */
	assert_int_equal(wire_tx_room(&t), 90);
	assert_int_equal(wire_rx_data(&r, 60, 90), 0);
	assert_int_equal(wire_rx_data(&r, 150, 0), 0);
}

/* ---- the manual --------------------------------------------------------------------------- */

static char *manual;

static void
in_manual(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	if (strstr(manual, line) == NULL)
		fail_msg("tokenfactory-wire.7 lacks: %s", line);
}

/* Directions as the manual writes them: the table's, without bars. */
static void
message_in_manual(unsigned num, const char *name, const char *dir)
{
	char plain[64];
	size_t n = 0;

	for (; *dir && n + 1 < sizeof plain; dir++)
		if (*dir != '|' && !(*dir == ' ' && dir[1] == '|'))
			plain[n++] = *dir;
	plain[n] = '\0';
	in_manual("\n.It Cm %s Pq %u, %s\n", name, num, plain);
}

/* Each message, field and number of the table stands in the manual as it is. */
static void
test_manual(void **state)
{
	const char *top = getenv("top_srcdir");
	char path[1024];
	FILE *f;
	size_t n;

	(void)state;
	snprintf(path, sizeof path, "%s/man/tokenfactory-wire.7", top ? top : ".");
	f = fopen(path, "r");
	assert_non_null(f);
	manual = calloc(1, 1 << 20);
	assert_non_null(manual);
	n = fread(manual, 1, (1 << 20) - 1, f);
	fclose(f);
	assert_true(n > 0);
	in_manual("This is version %d.%d.", WIRE_MAJOR, WIRE_MINOR);
	in_manual("header of %d bytes", WIRE_HEAD);
#define STAR_REQ "*"
#define STAR_OPT "-"
#define F(msg, num, type, name, need, help) \
	in_manual("\n.It %d Ta %s Ta %s Ta %s Ta %s\n", num, #type, #name, STAR_##need, help);
#define M(num, NAME, suffix, dir, help) \
	message_in_manual(num, #NAME, #dir); \
	WIRE_FIELDS_##NAME(F)
	WIRE_MESSAGES(M)
#undef M
#define M(NAME, suffix) \
	in_manual("\n.It Cm %s\n", #NAME); \
	WIRE_FIELDS_##NAME(F)
	WIRE_RECORDS(M)
#undef M
#undef F
#define E(num, NAME, text) in_manual("\n.It %d Ta %s Ta %s\n", num, #NAME, text);
	WIRE_ROLES(E) WIRE_OUTCOMES(E) WIRE_CANCELS(E) WIRE_KEY_STATUSES(E) WIRE_EV_FLAGS(E) WIRE_KINDS(E)
	    WIRE_VIEWS(E) WIRE_SCOPES(E) WIRE_CLAIM_STATES(E)
#undef E
	free(manual);
}

static int
write_vectors(const char *path)
{
	FILE *out = fopen(path, "w");

	if (out == NULL)
		return 1;
	fputs("# version, message, frame in hex. Lines are only ever added: each must decode for ever,\n"
	      "# and the last one of a message is what this build writes.\n", out);
	for (size_t i = 0; i < TF_LEN(rows); i++) {
		struct tf_buf b = { 0 };
		char hex[16384];

		encode(i, &b);
		tf_hex(b.p, b.n, hex);
		fprintf(out, "%d.%d %s %s\n", WIRE_MAJOR, WIRE_MINOR, rows[i].name, hex);
		tf_buf_free(&b);
	}
	return fclose(out);
}

static int
teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < TF_LEN(arena); i++)
		tf_buf_free(&arena[i]);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_truncated), cmocka_unit_test(test_fields),
		cmocka_unit_test(test_optional), cmocka_unit_test(test_text),
		cmocka_unit_test(test_bounds), cmocka_unit_test(test_joined_and_patch),
		cmocka_unit_test(test_directions), cmocka_unit_test(test_damage),
		cmocka_unit_test(test_stream), cmocka_unit_test(test_manual),
	};
	const char *out = getenv("WIRE_VECTORS_WRITE");

	if (out != NULL)
		return write_vectors(out);
	return cmocka_run_group_tests(tests, NULL, teardown);
}
