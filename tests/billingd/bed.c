/* SPDX-License-Identifier: Apache-2.0 */
/* See bed.h. */
#include "config.h"

#include <dirent.h>
#include <time.h>

#include "common/json/json.h"
#include "tests/billingd/bed.h"
#include "billingd/sqlite.h"

#define NONE ((struct tf_span){ 0 })

uint64_t
bed_real_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void
bed_turn(struct bed *b)
{
	if (b->bl != NULL)
		ev_loop_once(b->bl_loop, false);
	ev_loop_once(b->gw_loop, false);
	usleep(200);
}

void
bed_pass(struct bed *b, unsigned ms)
{
	uint64_t end = bed_real_ms() + ms;

	while (bed_real_ms() < end)
		bed_turn(b);
}

/* ---- gateways ----------------------------------------------------------------------------- */

static void
on_up(void *arg, struct wire_peer *p)
{
	struct wire_declare last = { .window = 0 };
	struct gw *g = arg;

	g->peer = p;
	g->h.ups++;
	if (!g->declare)
		return;
	wire_set(&last, DECLARE, last, 1);
	assert_int_equal(wire_send_declare(p, NULL, 0, &last, NONE), 0);
}

static void
on_down(void *arg, struct wire_peer *p, const char *why)
{
	struct gw *g = arg;

	(void)p;
	(void)why;
	g->peer = NULL;
	g->h.downs++;
}

static void
keep(char *out, size_t size, struct tf_span s)
{
	snprintf(out, size, TF_SPAN_FMT, TF_SPAN_ARG(s));
}

static void
on_frame(void *arg, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	struct gw *g = arg;
	struct heard *h = &g->h;

	switch (f->verb) {
	case WIRE_KEY:
		h->keys++;
		h->key = m->key;
		memset(&h->key_id, 0, sizeof h->key_id);
		if (m->key.key.n == sizeof h->key_id.b)
			memcpy(h->key_id.b, m->key.key.p, sizeof h->key_id.b);
		keep(h->code, sizeof h->code, m->key.plan);
		break;
	case WIRE_KEY_CHANGE:
		h->changes++;
		h->change = m->key_change.change;
		break;
	case WIRE_GRANT:
		h->grants++;
		h->grant = m->grant;
		h->granted.requests += m->grant.requests;
		h->granted.tokens += m->grant.tokens;
		break;
	case WIRE_GRANT_REFUSE:
		h->refusals++;
		h->refuse = m->grant_refuse;
		keep(h->code, sizeof h->code, m->grant_refuse.code);
		break;
	case WIRE_GRANT_RECALL:
		h->recalls++;
		if (h->recall_grant != 0) {
			struct wire_grant_return r = { .key = m->grant_recall.key, .grant = h->recall_grant,
				.requests = h->recall_requests, .tokens = h->recall_tokens };

			assert_int_equal(wire_send_grant_return(p, NULL, 0, &r, NONE), 0);
			h->recall_grant = 0;
		}
		break;
	case WIRE_USAGE_ACK:
		if (wire_has(&m->usage_ack, USAGE_ACK, of_name)) {
			h->of_acks++;
			h->of_ack = m->usage_ack.seq;
			h->of_boot = m->usage_ack.of_boot;
			keep(h->of_name, sizeof h->of_name, m->usage_ack.of_name);
			break;
		}
		h->acks++;
		h->ack = m->usage_ack.seq;
		break;
	case WIRE_ANSWER:
		h->answers++;
		keep(h->code, sizeof h->code, m->answer.code);
		keep(h->param, sizeof h->param, m->answer.param);
		tf_buf_reset(&h->body);
		tf_buf_addspan(&h->body, f->payload);
		break;
	default:
		break;
	}
}

void
bed_gateway(struct bed *b, int i, uint64_t boot)
{
	struct gw *g = &b->gw[i];
	struct wire_hooks hooks = { on_up, on_down, on_frame, g };
	struct wire_self self = { .name = g->name, .role = WIRE_ROLE_GW, .boot = boot, .heartbeat_ms = 100 };
	char endpoint[128];
	unsigned ups = g->h.ups;

	snprintf(g->name, sizeof g->name, "gatewayd.%d", i);
	snprintf(endpoint, sizeof endpoint, "ipc://%s/billingd.sock", b->dir);
	g->bed = b;
	g->boot = boot;
	g->seq = 0;
	assert_int_equal(wire_dial_new(b->gw_loop, b->zctx, &self, endpoint, &hooks, &g->dial), 0);
	UNTIL(b, g->h.ups > ups);
}

void
bed_gateway_gone(struct bed *b, int i)
{
	wire_dial_free(&b->gw[i].dial);
	b->gw[i].peer = NULL;
}

/* ---- billingd ----------------------------------------------------------------------------- */

void
bed_start(struct bed *b)
{
	b->bl_loop = ev_loop_new();
	assert_non_null(b->bl_loop);
	assert_int_equal(bl_new(b->bl_loop, b->conf, &b->bl), 0);
}

void
bed_stop(struct bed *b)
{
	bl_free(&b->bl);
	ev_loop_free(&b->bl_loop);
}

void
bed_open(struct bed *b, const char *more)
{
	struct conf_errors errors = { 0 };
	struct conf_text text = { .file = "test" };
	char ini[2048];

	memset(b, 0, sizeof *b);
	alarm(60);
	snprintf(b->dir, sizeof b->dir, "/tmp/bl-bed.XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	snprintf(ini, sizeof ini, "[common]\nrun-dir = %s\nheartbeat = 100ms\n[billingd]\ndatabase = %s/billing.db\n%s\n", b->dir,
	    b->dir, more);
	text.text = tf_cspan(ini);
	if (conf_parse(&text, 1, &b->conf, &errors) != 0)
		fail_msg("%s", errors.v[0]);
	b->gw_loop = ev_loop_new();
	b->zctx = ev_zctx_new(1);
	assert_non_null(b->gw_loop);
	assert_non_null(b->zctx);
	bed_start(b);
}

void
bed_close(struct bed *b)
{
	char path[400];
	struct dirent *e;
	DIR *d;

	for (int i = 0; i < BED_GATEWAYS; i++) {
		wire_dial_free(&b->gw[i].dial);
		tf_buf_free(&b->gw[i].h.body);
	}
	if (b->bl != NULL)
		bed_stop(b);
	ev_loop_free(&b->gw_loop);
	ev_zctx_free(&b->zctx);
	conf_free(&b->conf);
	tf_clock_shift(0);
	d = opendir(b->dir);
	while (d != NULL && (e = readdir(d)) != NULL) {
		snprintf(path, sizeof path, "%s/%s", b->dir, e->d_name);
		if (e->d_name[0] != '.')
			unlink(path);
	}
	if (d != NULL)
		closedir(d);
	rmdir(b->dir);
}

int
bed_teardown(void **state)
{
	bed_close(*state);
	return 0;
}

void
bed_done(const struct bl_change *c, void *arg)
{
	struct bed *b = arg;

	b->rc = c->rc;
	b->done++;
	snprintf(b->text, sizeof b->text, "%s", c->text);
	b->id = c->batch->ops[0].kind == BL_OP_WORKSPACE_NEW ? c->workspace.id : c->secret.key;
}

int
bed_revoke(struct bed *b, const struct tf_id *key)
{
	struct bl_key *k = bl_index_key(&b->bl->index, tf_id_span(key));

	return bl_admin_revoke(b->bl, &k, 1, BED_ORDER(b));
}

struct tf_id
bed_workspace(struct bed *b, const char *name, const char *plan)
{
	unsigned done = b->done;

	assert_int_equal(bl_admin_workspace(b->bl, tf_cspan(name), tf_cspan(plan), BED_ORDER(b)), 0);
	UNTIL(b, b->done > done);
	return b->id;
}

struct tf_id
bed_key(struct bed *b, struct tf_id workspace, int64_t expires_ms)
{
	struct bl_key_set set = { .parts = BL_KEY_EXPIRES, .row = { .expires_ms = expires_ms } };
	struct bl_mint m = { .workspace = bl_index_workspace(&b->bl->index, tf_id_span(&workspace)), .name = TF_SPAN("ci"),
		.form = TF_SPAN("tf"), .env = TF_SPAN("dev"), .limits = &set };
	unsigned done = b->done;

	assert_non_null(m.workspace);
	assert_int_equal(bl_admin_mint(b->bl, &m, BED_ORDER(b)), 0);
	UNTIL(b, b->done > done);
	assert_int_equal(b->rc, 0);
	return b->id;
}

/* ---- talking ------------------------------------------------------------------------------ */

void
bed_key_ask(struct bed *b, int i, const char *text)
{
	struct gw *g = &b->gw[i];
	uint8_t sha[TF_SHA256];
	struct wire_key_ask m = { .digest = tf_span(sha, sizeof sha) };
	unsigned keys = g->h.keys;
	struct tf_id id = tf_id_new();

	tf_sha256(text, strlen(text), sha);
	assert_int_equal(wire_send_key_ask(g->peer, &id, 0, &m, NONE), 0);
	UNTIL(b, g->h.keys > keys);
}

bool
bed_ask(struct bed *b, int i, struct tf_id key, uint64_t requests, uint64_t tokens, uint64_t want)
{
	struct gw *g = &b->gw[i];
	struct wire_grant_ask m = { .key = tf_id_span(&key), .requests = requests, .tokens = tokens,
		.want_requests = want, .want_tokens = want * tokens };
	unsigned grants = g->h.grants, refusals = g->h.refusals;
	struct tf_id id = tf_id_new();

	assert_int_equal(wire_send_grant_ask(g->peer, &id, 0, &m, NONE), 0);
	UNTIL(b, g->h.grants > grants || g->h.refusals > refusals);
	return g->h.grants > grants;
}

void
bed_return(struct bed *b, int i, struct tf_id key, uint64_t grant, uint64_t requests, uint64_t tokens)
{
	struct wire_grant_return m = { .key = tf_id_span(&key), .grant = grant, .requests = requests, .tokens = tokens };

	assert_int_equal(wire_send_grant_return(b->gw[i].peer, NULL, 0, &m, NONE), 0);
}

struct wire_usage
bed_usage(struct bed *b, int i, struct tf_id key)
{
	struct bl_key *k = bl_index_key(&b->bl->index, tf_id_span(&key));
	uint64_t now = (uint64_t)bl_wall_ms();

	assert_non_null(k);
	return (struct wire_usage){ .seq = ++b->gw[i].seq, .key = tf_id_span(&k->row.id),
		.workspace = tf_id_span(&k->workspace->row.id), .model = TF_SPAN("acme/large"), .surface = TF_SPAN("openai_chat"),
		.outcome = WIRE_OUTCOME_SERVED, .began_ms = now, .ended_ms = now,
		.window = k->workspace->account.window[BL_W_MINUTE].number,
		.prompt = 10, .cache_read = 5, .completion = 3, .reasoning = 2, .delivered = 1, .finish = TF_SPAN("stop"),
		.status = 200 };
}

void
bed_tell(struct bed *b, int i, const struct wire_usage *u, struct tf_id request)
{
	assert_int_equal(wire_send_usage(b->gw[i].peer, &request, 1, u, NONE), 0);
}

static void
query(struct bed *b, int i, const struct wire_query *m)
{
	struct gw *g = &b->gw[i];
	unsigned answers = g->h.answers;
	struct tf_id id = tf_id_new();

	assert_int_equal(wire_send_query(g->peer, &id, 0, m, NONE), 0);
	UNTIL(b, g->h.answers > answers);
}

const char *
bed_query(struct bed *b, int i, struct tf_id workspace, const char *args)
{
	struct wire_query m = { .name = TF_SPAN("usage"), .workspace = tf_id_span(&workspace), .args = tf_cspan(args) };
	struct gw *g = &b->gw[i];

	query(b, i, &m);
	if (g->h.code[0] == '\0')
		assert_int_equal(js_valid(tf_buf_span(&g->h.body)), 0);
	return tf_buf_cstr(&g->h.body);
}

const char *
bed_table(struct bed *b, int i, struct tf_id workspace, const char *args)
{
	struct wire_query m = { .name = TF_SPAN("usage"), .workspace = tf_id_span(&workspace), .args = tf_cspan(args) };

	wire_set(&m, QUERY, csv, 1);
	query(b, i, &m);
	return tf_buf_cstr(&b->gw[i].h.body);
}

int64_t
bed_sql(struct bed *b, const char *sql)
{
	sqlite3_stmt *stmt = NULL;
	sqlite3 *db = NULL;
	char path[128];
	int64_t v = -1;

	snprintf(path, sizeof path, "%s/billing.db", b->dir);
	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
	if (sqlite3_step(stmt) == SQLITE_ROW)
		v = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return v;
}
