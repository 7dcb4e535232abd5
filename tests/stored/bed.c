/* SPDX-License-Identifier: Apache-2.0 */
/* See bed.h. */
#include "config.h"

#include <dirent.h>
#include <sqlite3.h>
#include <time.h>

#include "tests/stored/bed.h"

#define NONE ((struct tf_span){ 0 })

static uint64_t
real_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void
bed_turn(struct bed *b)
{
	if (b->st != NULL)
		ev_loop_once(b->st_loop, false);
	ev_loop_once(b->gw_loop, false);
	usleep(200);
}

void
bed_pass(struct bed *b, unsigned ms)
{
	uint64_t end = real_ms() + ms;

	while (real_ms() < end)
		bed_turn(b);
}

/* ---- gateways ----------------------------------------------------------------------------- */

static void
on_up(void *arg, struct wire_peer *p)
{
	struct bed_gw *g = arg;

	g->peer = p;
}

static void
on_down(void *arg, struct wire_peer *p, const char *why)
{
	struct bed_gw *g = arg;

	(void)p;
	(void)why;
	g->peer = NULL;
}

static void
keep(char *out, size_t size, struct tf_span s)
{
	snprintf(out, size, TF_SPAN_FMT, TF_SPAN_ARG(s));
}

static void
on_frame(void *arg, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	struct bed_gw *g = arg;

	(void)p;
	if (!tf_id_eq(f->id, g->id))
		return;
	if (f->verb == WIRE_PUT_DONE) {
		keep(g->code, sizeof g->code, m->put_done.code);
		g->done = true;
	} else if (f->verb == WIRE_VALUE) {
		keep(g->code, sizeof g->code, m->value.code);
		keep(g->param, sizeof g->param, m->value.param);
		keep(g->type, sizeof g->type, m->value.content_type);
		g->total = m->value.total;
		if (g->code[0] == '\0' && g->body.n > 0)
			assert_true(m->value.offset >= g->body.n);
		assert_true(f->payload.n <= WIRE_PIECE);
		assert_int_equal(tf_buf_addspan(&g->body, f->payload), 0);
		g->done = m->value.last;
	} else if (f->verb == WIRE_CLAIMED) {
		keep(g->code, sizeof g->code, m->claimed.code);
		g->state = m->claimed.state;
		g->turn = m->claimed.turn;
		if (m->claimed.request.n == sizeof g->request)
			memcpy(g->request.b, m->claimed.request.p, sizeof g->request.b);
		g->done = true;
	}
}

void
bed_gateway(struct bed *b, int i)
{
	struct bed_gw *g = &b->gw[i];
	struct wire_hooks hooks = { on_up, on_down, on_frame, g };
	struct wire_self self = { .name = g->name, .role = WIRE_ROLE_GW, .boot = tf_random_u64(), .heartbeat_ms = 100 };
	char endpoint[128];

	snprintf(g->name, sizeof g->name, "gatewayd.%d", i);
	snprintf(endpoint, sizeof endpoint, "ipc://%s/stored.sock", b->dir);
	g->bed = b;
	assert_int_equal(wire_dial_new(b->gw_loop, b->zctx, &self, endpoint, &hooks, &g->dial), 0);
	while (g->peer == NULL)
		bed_turn(b);
}

static const char *
await(struct bed *b, struct bed_gw *g)
{
	uint64_t end = real_ms() + 20000;

	while (!g->done && real_ms() < end)
		bed_turn(b);
	assert_true(g->done);
	return g->code;
}

static struct bed_gw *
fresh_of(struct bed *b, int i)
{
	struct bed_gw *g = &b->gw[i];

	while (g->peer == NULL)
		bed_turn(b);
	g->id = tf_id_new();
	g->done = false;
	g->code[0] = g->param[0] = g->type[0] = '\0';
	g->total = 0;
	tf_buf_reset(&g->body);
	return g;
}

static struct bed_gw *
fresh(struct bed *b)
{
	return fresh_of(b, 0);
}

struct tf_span
bed_ws(unsigned ws)
{
	static uint8_t ids[16][16];

	memset(ids[ws % 16], (int)ws, 16);
	return tf_span(ids[ws % 16], 16);
}

const char *
bed_put_as(struct bed *b, const struct wire_put *with, struct tf_span value)
{
	struct bed_gw *g = fresh(b);
	struct wire_put m = *with;

	m.total = value.n;
	do {
		size_t n = value.n - m.offset < WIRE_PIECE ? value.n - m.offset : WIRE_PIECE;

		assert_int_equal(wire_send_put(g->peer, &g->id, 0, &m, tf_span(value.p + m.offset, n)), 0);
		m.offset += n;
	} while (m.offset < value.n);
	return await(b, g);
}

const char *
bed_put(struct bed *b, unsigned kind, unsigned ws, const char *name, struct tf_span value)
{
	struct wire_put m = { .kind = kind, .workspace = bed_ws(ws), .name = tf_cspan(name) };

	return bed_put_as(b, &m, value);
}

const char *
bed_ask(struct bed *b, const struct wire_get *m)
{
	struct bed_gw *g = fresh(b);

	assert_int_equal(wire_send_get(g->peer, &g->id, 0, m, NONE), 0);
	return await(b, g);
}

const char *
bed_get(struct bed *b, unsigned kind, unsigned ws, const char *name)
{
	struct wire_get m = { .kind = kind, .workspace = bed_ws(ws) };
	struct tf_buf names = { 0 };
	const char *code;

	assert_int_equal(wire_rep_add(&names, WIRE_FN_GET_name, tf_cspan(name)), 0);
	m.name = wire_rep_of(&names, WIRE_FN_GET_name);
	code = bed_ask(b, &m);
	tf_buf_free(&names);
	return code;
}

const char *
bed_drop(struct bed *b, unsigned kind, unsigned ws, const char *name)
{
	struct wire_drop m = { .kind = kind, .workspace = bed_ws(ws), .name = tf_cspan(name) };
	struct bed_gw *g = fresh(b);

	assert_int_equal(wire_send_drop(g->peer, &g->id, 0, &m, NONE), 0);
	return await(b, g);
}

const char *
bed_claim_as(struct bed *b, int i, const struct tf_id *id, const struct wire_claim *m)
{
	struct bed_gw *g = fresh_of(b, i);

	g->id = *id;
	assert_int_equal(wire_send_claim(g->peer, id, 0, m, NONE), 0);
	return await(b, g);
}

const char *
bed_claim(struct bed *b, int i, unsigned ws, const char *name, unsigned body)
{
	struct tf_id id = tf_id_new(), request = tf_id_new();
	uint8_t hash[TF_SHA256];
	struct wire_claim m = { .workspace = bed_ws(ws), .name = tf_cspan(name), .body = tf_span(hash, sizeof hash),
		.request = tf_id_span(&request) };

	memset(hash, (int)body, sizeof hash);
	return bed_claim_as(b, i, &id, &m);
}

const char *
bed_release(struct bed *b, int i, unsigned ws, const char *name, struct tf_id claim)
{
	struct bed_gw *g = fresh_of(b, i);
	struct wire_release m = { .workspace = bed_ws(ws), .name = tf_cspan(name), .claim = tf_id_span(&claim) };

	assert_int_equal(wire_send_release(g->peer, &g->id, 0, &m, NONE), 0);
	return await(b, g);
}

const char *
bed_body(struct bed *b)
{
	return tf_buf_cstr(&b->gw[0].body);
}

/* ---- stored ------------------------------------------------------------------------------- */

void
bed_start(struct bed *b)
{
	b->st_loop = ev_loop_new();
	assert_non_null(b->st_loop);
	assert_int_equal(st_new(b->st_loop, b->conf, &b->st), 0);
}

void
bed_stop(struct bed *b)
{
	st_free(&b->st);
	ev_loop_free(&b->st_loop);
	for (int i = 0; i < BED_GATEWAYS; i++)
		while (b->gw[i].dial != NULL && b->gw[i].peer != NULL)
			bed_turn(b);
}

void
bed_open(struct bed *b, const char *more)
{
	struct conf_errors errors = { 0 };
	struct conf_text text = { .file = "test" };
	char ini[2048];

	memset(b, 0, sizeof *b);
	alarm(120);
	snprintf(b->dir, sizeof b->dir, "/tmp/st-bed.XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	snprintf(ini, sizeof ini, "[common]\nrun-dir = %s\nheartbeat = 100ms\n[stored]\ndatabase = %s/stored.db\n"
	    "blob-dir = %s/blobs\n%s\n", b->dir, b->dir, b->dir, more);
	text.text = tf_cspan(ini);
	if (conf_parse(&text, 1, &b->conf, &errors) != 0)
		fail_msg("%s", errors.v[0]);
	b->gw_loop = ev_loop_new();
	b->zctx = ev_zctx_new(1);
	assert_non_null(b->gw_loop);
	assert_non_null(b->zctx);
	bed_start(b);
	bed_gateway(b, 0);
}

static void
empty(const char *dir)
{
	char path[512];
	struct dirent *e;
	DIR *d = opendir(dir);

	while (d != NULL && (e = readdir(d)) != NULL) {
		snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
		if (e->d_name[0] != '.')
			unlink(path);
	}
	if (d != NULL)
		closedir(d);
	rmdir(dir);
}

void
bed_close(struct bed *b)
{
	char blobs[128];

	for (int i = 0; i < BED_GATEWAYS; i++) {
		wire_dial_free(&b->gw[i].dial);
		tf_buf_free(&b->gw[i].body);
	}
	if (b->st != NULL)
		bed_stop(b);
	ev_loop_free(&b->gw_loop);
	ev_zctx_free(&b->zctx);
	conf_free(&b->conf);
	snprintf(blobs, sizeof blobs, "%s/blobs", b->dir);
	empty(blobs);
	empty(b->dir);
	alarm(0);
}

int64_t
bed_int(struct bed *b, const char *sql)
{
	sqlite3_stmt *stmt = NULL;
	sqlite3 *db = NULL;
	char path[128];
	int64_t v = -1;

	snprintf(path, sizeof path, "%s/stored.db", b->dir);
	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	if (sqlite3_step(stmt) == SQLITE_ROW)
		v = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return v;
}

size_t
bed_files(struct bed *b)
{
	char path[128];
	struct dirent *e;
	size_t n = 0;
	DIR *d;

	snprintf(path, sizeof path, "%s/blobs", b->dir);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d)) != NULL)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

void
bed_lose(struct bed *b)
{
	char path[128];

	snprintf(path, sizeof path, "%s/blobs", b->dir);
	empty(path);
}

struct tf_span
bed_noise(size_t n)
{
	static char *bytes;
	static size_t have;

	if (have < n) {
		bytes = realloc(bytes, n);
		assert_non_null(bytes);
		for (size_t i = have; i < n; i++)
			bytes[i] = (char)(i * 2654435761u >> 13);
		have = n;
	}
	return tf_span(bytes, n);
}

const char *
bed_put_response(struct bed *b, unsigned ws, const char *id, const char *previous, const char *input)
{
	struct tf_buf v = { 0 };
	const char *code;

	tf_buf_printf(&v, "{\"input\":%s,\"response\":{\"id\":\"%s\",\"object\":\"response\",\"previous_response_id\":", input, id);
	tf_buf_printf(&v, previous ? "\"%s\"" : "null", previous);
	tf_buf_printf(&v, ",\"output\":[{\"id\":\"msg_of_%s\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[]}]}}", id);
	code = bed_put(b, WIRE_KIND_RESPONSE, ws, id, tf_buf_span(&v));
	tf_buf_free(&v);
	return code;
}

const char *
bed_view(struct bed *b, unsigned ws, const char *id, const struct wire_get *with)
{
	struct wire_get m = *with;
	struct tf_buf names = { 0 };
	const char *code;

	m.kind = m.kind ? m.kind : WIRE_KIND_RESPONSE;
	m.workspace = bed_ws(ws);
	assert_int_equal(wire_rep_add(&names, WIRE_FN_GET_name, tf_cspan(id)), 0);
	m.name = wire_rep_of(&names, WIRE_FN_GET_name);
	code = bed_ask(b, &m);
	tf_buf_free(&names);
	return code;
}

const char *
bed_chain(struct bed *b, unsigned ws, const char *id)
{
	return bed_view(b, ws, id, &(struct wire_get){ .view = WIRE_VIEW_CHAIN });
}
