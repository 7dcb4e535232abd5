/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: what is told twice counts once, what fails leaves nothing, and everything is there again after kill -9.
 */
#include "config.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/wire/wire.h"
#include "billingd/limit.h"
#include "tests/billingd/fixture.h"

#define DAY INT64_C(86400000)

/* The result of one usage record, told alone. */
static int
tell(struct fixture *f, struct bl_usage *u)
{
	struct db_batch *b = fx_batch(f);
	int result;

	b->lenient = true;
	assert_int_equal(db_batch_add(b, BL_OP_USAGE, u), 0);
	f->last = NULL;
	db_store_submit(f->store, b);
	while (f->last == NULL) {
		sem_wait(&f->wake);
		db_store_reap(f->store);
	}
	assert_int_equal(f->last->rc, 0);
	assert_int_equal(f->last->ops[0].rc, 0);
	result = f->last->ops[0].result;
	db_batch_free(&f->last);
	return result;
}

static void
test_told_twice(void **state)
{
	struct fixture *f = *state;
	struct bl_usage u = fx_usage(1);

	assert_int_equal(tell(f, &u), BL_USAGE_NEW);
	assert_int_equal(tell(f, &u), BL_USAGE_REPLAY);
	u.outcome = WIRE_OUTCOME_LOST; /* a provisional record comes late */
	assert_int_equal(tell(f, &u), BL_USAGE_REPLAY);
	assert_int_equal(fx_int(f, "SELECT count(*) FROM ledger WHERE outcome = 1 AND charged = 1"), 1);
	assert_int_equal(fx_int(f, "SELECT requests FROM usage_days"), 1);
	assert_int_equal(fx_int(f, "SELECT prompt FROM usage_days"), 100);
}

static void
test_final_beats_lost(void **state)
{
	struct fixture *f = *state;
	struct bl_usage u = fx_usage(1);

	u.outcome = WIRE_OUTCOME_LOST;
	u.tokens = (struct bl_tokens){ 0 };
	assert_int_equal(tell(f, &u), BL_USAGE_NEW);
	assert_int_equal(tell(f, &u), BL_USAGE_REPLAY);
	assert_int_equal(fx_int(f, "SELECT count(*) FROM usage_days"), 0);
	u = fx_usage(1);
	u.outcome = WIRE_OUTCOME_PARTIAL;
	assert_int_equal(tell(f, &u), BL_USAGE_FINAL);
	assert_int_equal(tell(f, &u), BL_USAGE_REPLAY);
	assert_int_equal(fx_int(f, "SELECT count(*) FROM ledger"), 1);
	assert_int_equal(fx_int(f, "SELECT outcome FROM ledger"), WIRE_OUTCOME_PARTIAL);
	assert_int_equal(fx_int(f, "SELECT completion FROM usage_days"), 7);
}

/* What was known from a dead gateway's files alone gives way to what was said at the end, in the sums too. */
static void
test_final_beats_provisional(void **state)
{
	struct fixture *f = *state;
	struct bl_usage u = fx_usage(1), final = fx_usage(1);

	u.provisional = true;
	u.outcome = WIRE_OUTCOME_PARTIAL;
	u.tokens.completion = 3;
	u.cost = 30;
	u.text[BL_T_MODEL] = TF_SPAN("acme/other");
	assert_int_equal(tell(f, &u), BL_USAGE_NEW);
	assert_int_equal(tell(f, &u), BL_USAGE_REPLAY);
	assert_int_equal(fx_int(f, "SELECT cost FROM usage_days WHERE model = 'acme/other'"), 30);
	assert_int_equal(tell(f, &final), BL_USAGE_FINAL);
	assert_true(final.before.charged && final.before.cost == 30 && final.before.tokens.completion == 3);
	assert_int_equal(tell(f, &final), BL_USAGE_REPLAY);
	assert_false(final.before.charged);
	assert_int_equal(tell(f, &u), BL_USAGE_REPLAY);
	assert_int_equal(fx_int(f, "SELECT count(*) FROM usage_days"), 1);
	assert_int_equal(fx_int(f, "SELECT cost FROM usage_days WHERE model = 'acme/large' AND completion = 7"), 43);
	assert_int_equal(fx_int(f, "SELECT count(*) FROM ledger WHERE provisional = 0"), 1);
}

/* A charge that is taken back lets another attempt of the request be charged. */
static void
test_charge_moves(void **state)
{
	struct fixture *f = *state;
	struct bl_usage one = fx_usage(1), two = fx_usage(1), three = fx_usage(1);

	one.provisional = true;
	two.attempt = 2;
	two.tokens.completion = 70;
	three.attempt = 3;
	assert_int_equal(tell(f, &one), BL_USAGE_NEW);
	assert_int_equal(tell(f, &two), BL_USAGE_UNCHARGED);
	assert_int_equal(tell(f, &three), BL_USAGE_UNCHARGED);
	assert_int_equal(fx_int(f, "SELECT completion FROM usage_days"), 7);
	one.provisional = false;
	one.outcome = WIRE_OUTCOME_FAILED;
	assert_int_equal(tell(f, &one), BL_USAGE_FINAL);
	assert_int_equal(fx_int(f, "SELECT attempt FROM ledger WHERE charged = 1"), 2);
	assert_int_equal(fx_int(f, "SELECT requests FROM usage_days"), 1);
	assert_int_equal(fx_int(f, "SELECT completion FROM usage_days"), 70);
	/* with no other one left nothing stays in the sums */
	one = fx_usage(2);
	one.began_ms += DAY;
	one.provisional = true;
	assert_int_equal(tell(f, &one), BL_USAGE_NEW);
	assert_int_equal(fx_int(f, "SELECT count(*) FROM usage_days"), 2);
	one.provisional = false;
	one.outcome = WIRE_OUTCOME_LOST;
	assert_int_equal(tell(f, &one), BL_USAGE_FINAL);
	assert_int_equal(fx_int(f, "SELECT count(*) FROM usage_days"), 1);
}

/* Attempts of one request, in any order: one charge. */
static void
test_one_charge_a_request(void **state)
{
	struct fixture *f = *state;
	struct bl_usage two = fx_usage(1), one = fx_usage(1), three = fx_usage(1);

	two.attempt = 2;
	one.outcome = WIRE_OUTCOME_FAILED;
	three.attempt = 3;
	assert_int_equal(tell(f, &two), BL_USAGE_NEW);
	assert_int_equal(tell(f, &one), BL_USAGE_NEW);
	assert_int_equal(tell(f, &three), BL_USAGE_UNCHARGED);
	assert_int_equal(tell(f, &three), BL_USAGE_REPLAY);
	/* lost first, charged later, while another one is charged already */
	three.attempt = 4;
	three.outcome = WIRE_OUTCOME_LOST;
	assert_int_equal(tell(f, &three), BL_USAGE_NEW);
	three.outcome = WIRE_OUTCOME_SERVED;
	assert_int_equal(tell(f, &three), BL_USAGE_UNCHARGED);
	assert_int_equal(fx_int(f, "SELECT count(*) FROM ledger"), 4);
	assert_int_equal(fx_int(f, "SELECT sum(charged) FROM ledger"), 1);
	assert_int_equal(fx_int(f, "SELECT requests FROM usage_days"), 1);
}

/* A strange row does not hold up the others, and harms nothing. */
static void
test_lenient(void **state)
{
	struct fixture *f = *state;
	struct bl_usage good = fx_usage(1), bad = fx_usage(2), good2 = fx_usage(3);
	struct db_batch *b = fx_batch(f);

	bad.instance = 77; /* no such instance */
	b->lenient = true;
	assert_int_equal(db_batch_add(b, BL_OP_USAGE, &good), 0);
	assert_int_equal(db_batch_add(b, BL_OP_USAGE, &bad), 0);
	assert_int_equal(db_batch_add(b, BL_OP_USAGE, &good2), 0);
	/* deferred to the end of the row's statement: it is this row alone that is refused */
	assert_int_equal(fx_run(f, b), 0);
	assert_int_equal(fx_int(f, "SELECT count(*) FROM ledger"), 2);
	assert_int_equal(fx_int(f, "SELECT requests FROM usage_days"), 2);
}

/*
 * Records that one statement could insert together: a strange one, one that is there already, one of a request that is
 * charged. Each is treated as if it had come alone, wherever it stands.
 */
static void
test_together(void **state)
{
	enum { N = 2 * BL_LEDGER_ROWS + 3, STRANGE = 4, AGAIN = 6, OTHER = 8 };
	struct fixture *f = *state;
	struct bl_usage u[N];

	for (unsigned shift = 0; shift < BL_LEDGER_ROWS; shift++) {
		unsigned first = 1 + shift * N;
		struct db_batch *b = fx_batch(f);

		b->lenient = true;
		for (unsigned i = 0; i < N; i++) {
			unsigned at = (i + shift) % N;

			u[at] = fx_usage(first + i);
			if (i == STRANGE)
				u[at].instance = 77; /* no such instance */
			else if (i == AGAIN)
				u[at] = fx_usage(first + AGAIN - 1);
			else if (i == OTHER)
				u[at].request = fx_usage(first + OTHER + 1).request, u[at].attempt = 2;
		}
		for (unsigned at = 0; at < N; at++)
			assert_int_equal(db_batch_add(b, BL_OP_USAGE, &u[at]), 0);
		f->last = NULL;
		db_store_submit(f->store, b);
		while (f->last == NULL) {
			sem_wait(&f->wake);
			db_store_reap(f->store);
		}
		assert_int_equal(b->rc, 0);
		for (unsigned i = 0; i < N; i++) {
			const struct db_op *op = &b->ops[(i + shift) % N];
			int expect = i == AGAIN ? BL_USAGE_REPLAY : i == OTHER + 1 ? BL_USAGE_UNCHARGED : BL_USAGE_NEW;

			assert_int_equal(op->rc, i == STRANGE ? TF_E_NOENT : 0);
			if (i != STRANGE)
				assert_int_equal(op->result, expect);
		}
		db_batch_free(&f->last);
		assert_int_equal(fx_int(f, "SELECT count(*) FROM ledger"), (shift + 1) * (N - 2));
		assert_int_equal(fx_int(f, "SELECT sum(charged) FROM ledger"), (shift + 1) * (N - 3));
		assert_int_equal(fx_int(f, "SELECT count(DISTINCT request) FROM ledger WHERE charged = 1"), (shift + 1) * (N - 3));
		assert_int_equal(fx_int(f, "SELECT requests FROM usage_days"), (shift + 1) * (N - 3));
		assert_int_equal(fx_int(f, "SELECT prompt FROM usage_days"), (shift + 1) * (N - 3) * 100);
	}
}

static struct bl_workspace_row
workspace(unsigned n, const char *name)
{
	struct bl_workspace_row w = { .id = fx_id('w', n), .plan = "test", .created_ms = 5 };

	snprintf(w.name, sizeof w.name, "%s", name);
	return w;
}

/* A batch of writes happens whole or not at all, and its neighbours in the transaction do not suffer. */
static void
test_atomic(void **state)
{
	struct fixture *f = *state;
	struct bl_workspace_row a = workspace(1, "a"), b = workspace(2, "b"), again = workspace(3, "a");
	struct db_batch *bad = fx_batch(f);
	uint64_t change = 0;

	assert_int_equal(fx_one(f, BL_OP_WORKSPACE_NEW, &a), 0);
	assert_int_equal(db_batch_add(bad, BL_OP_WORKSPACE_NEW, &b), 0);
	assert_int_equal(db_batch_add(bad, BL_OP_CHANGE, &change), 0);
	assert_int_equal(db_batch_add(bad, BL_OP_WORKSPACE_NEW, &again), 0);
	assert_int_equal(fx_run(f, bad), TF_E_EXIST);
	assert_int_equal(fx_int(f, "SELECT count(*) FROM workspaces"), 1);
	assert_int_equal(fx_int(f, "SELECT value FROM meta WHERE name = 'change'"), 0);
	assert_int_equal(fx_one(f, BL_OP_WORKSPACE_NEW, &b), 0);
	assert_int_equal(fx_one(f, BL_OP_CHANGE, &change), 0);
	assert_int_equal(change, 1);
}

static void
add_key(struct fixture *f, unsigned n, char **models, size_t n_models)
{
	struct bl_key_row k = { .id = fx_id('k', n), .workspace = fx_id('w', 1), .name = "ci", .form = "tf", .env = "prod",
		.created_ms = 7, .expires_ms = BL_NEVER_MS, .models = { models, n_models }, .scopes = 1 };
	struct bl_secret_row s = { .key = k.id, .generation = 1, .prefix = "tf-prod-ab", .last4 = "wxyz", .pepper = -9,
		.created_ms = 7, .until_ms = BL_NEVER_MS };
	struct db_batch *b = fx_batch(f);

	memset(s.digest, (int)n, sizeof s.digest);
	assert_int_equal(db_batch_add(b, BL_OP_KEY_NEW, &k), 0);
	assert_int_equal(db_batch_add(b, BL_OP_SECRET_NEW, &s), 0);
	assert_int_equal(fx_run(f, b), 0);
}

/* What bounds a workspace and a key: a missing number is no limit, zero is one. */
static void
check_limits(const struct bl_start *s)
{
	const struct bl_workspace_row *w = &s->workspaces[0];
	const struct bl_key_row *k = &s->keys[1];

	assert_true(w->cap_tokens.is && w->cap_tokens.v == 0 && !w->cap_images.is && !w->cap_audio_ms.is);
	assert_true(w->budget.is && w->budget.v == 7 && w->balance.is && w->balance.v == -3 && w->extra_tokens == 9);
	assert_true(k->rpm == 4 && k->tpm == 0 && k->concurrency == 2 && k->budget.is && k->budget.v == 8 && k->scopes == 3);
	assert_true(k->endpoints.n == 1 && strcmp(k->endpoints.v[0], "chat") == 0);
	assert_true(k->networks.n == 1 && strcmp(k->networks.v[0], "10.0.0.0/8") == 0);
	k = &s->keys[0];
	assert_true(k->rpm == 0 && !k->budget.is && k->scopes == 1 && k->endpoints.n == 0);
}

/* The minute of the workspace, and the month of each key and of all: what is charged, once for all attempts. */
static void
check_windows(const struct bl_start *s)
{
	const struct bl_window_row *w = s->windows;

	assert_int_equal(s->n_windows, 3);
	assert_true(w[0].kind == BL_W_MINUTE && !w[0].of_key && w[0].window == UINT64_C(1900000000000));
	assert_true(w[0].requests == 1 && w[0].tokens == 130);
	assert_true(w[1].kind == BL_W_MONTH && w[1].of_key && w[1].window == UINT64_C(1898553600000));
	assert_true(w[1].tokens == 130 && w[1].money == 43);
	assert_true(w[2].kind == BL_W_MONTH && !w[2].of_key && w[2].tokens == 130 && w[2].money == 43);
}

static void
test_start(void **state)
{
	struct fixture *f = *state;
	struct bl_workspace_row w = workspace(1, "main");
	char m1[] = "acme/large", m2[] = "acme/small", *models[] = { m1, m2 };
	struct bl_start s = { .now_ms = INT64_C(1900000050000), .pepper = -9 };
	struct bl_usage u = fx_usage(1);
	struct bl_key_row k = { .id = fx_id('k', 1), .last_used_ms = 99, .revoked_ms = 123 };
	struct bl_instance_row ack = { .id = 1, .seq = 41, .gone_ms = BL_NEVER_MS };

	assert_int_equal(fx_one(f, BL_OP_WORKSPACE_NEW, &w), 0);
	add_key(f, 1, models, 2);
	add_key(f, 2, NULL, 0);
	u.window.minute = UINT64_C(1900000000000);
	tell(f, &u);
	u.attempt = 2;
	u.outcome = WIRE_OUTCOME_FAILED; /* costs no tokens, and no second request */
	tell(f, &u);
	assert_int_equal(fx_one(f, BL_OP_KEY_USED, &k), 0);
	assert_int_equal(fx_one(f, BL_OP_KEY_REVOKE, &k), 0);
	assert_int_equal(fx_one(f, BL_OP_ACK, &ack), 0);
	(void)fx_int(f, "UPDATE workspaces SET cap_tokens = 0, budget = 7, balance = -3, extra_tokens = 9 RETURNING 1");
	(void)fx_int(f, "UPDATE keys SET rpm = 4, concurrency = 2, budget = 8, scopes = 3 WHERE expires_ms IS NULL"
	    " AND revoked_ms IS NULL RETURNING 1");
	(void)fx_int(f, "INSERT INTO key_endpoints SELECT id, 'chat' FROM keys WHERE rpm IS NOT NULL RETURNING 1");
	(void)fx_int(f, "INSERT INTO key_networks SELECT id, '10.0.0.0/8' FROM keys WHERE rpm IS NOT NULL RETURNING 1");
	fx_reopen(f);
	assert_int_equal(fx_one(f, BL_OP_START, &s), 0);
	check_limits(&s);
	assert_int_equal(s.epoch, 1);
	assert_int_equal(s.n_workspaces, 1);
	assert_string_equal(s.workspaces[0].name, "main");
	assert_int_equal(s.n_keys, 2);
	assert_int_equal(s.keys[0].models.n, 2);
	assert_string_equal(s.keys[0].models.v[1], "acme/small");
	assert_int_equal(s.keys[0].last_used_ms, 99);
	assert_int_equal(s.keys[0].revoked_ms, 123);
	assert_true(s.keys[1].revoked_ms == BL_NEVER_MS && s.keys[1].expires_ms == BL_NEVER_MS);
	assert_int_equal(s.n_secrets, 2);
	assert_string_equal(s.secrets[0].last4, "wxyz");
	assert_int_equal(s.n_instances, 1);
	assert_true(s.instances[0].boot == UINT64_C(0xf000000000000001));
	assert_int_equal(s.instances[0].seq, 41);
	check_windows(&s);
	bl_start_fini(&s);
	/* a minute later the window is over; another pepper is noticed */
	s.now_ms = INT64_C(1900000070000);
	s.pepper = -9;
	assert_int_equal(fx_one(f, BL_OP_START, &s), 0);
	assert_int_equal(s.epoch, 2);
	assert_int_equal(s.n_windows, 2);
	assert_true(s.windows[0].kind == BL_W_MONTH && s.windows[1].kind == BL_W_MONTH);
	bl_start_fini(&s);
	s.pepper = 10;
	assert_int_equal(fx_one(f, BL_OP_START, &s), TF_E_STATE);
	bl_start_fini(&s);
	assert_int_equal(fx_int(f, "SELECT value FROM meta WHERE name = 'epoch'"), 2);
}

static void
test_secrets(void **state)
{
	struct fixture *f = *state;
	struct bl_workspace_row w = workspace(1, "main");
	struct bl_secret_row s = { .key = fx_id('k', 1), .generation = 2, .pepper = 1, .until_ms = BL_NEVER_MS };

	assert_int_equal(fx_one(f, BL_OP_WORKSPACE_NEW, &w), 0);
	add_key(f, 1, NULL, 0);
	memset(s.digest, 1, sizeof s.digest);
	assert_int_equal(fx_one(f, BL_OP_SECRET_NEW, &s), TF_E_EXIST);
	memset(s.digest, 2, sizeof s.digest);
	s.generation = 1;
	assert_int_equal(fx_one(f, BL_OP_SECRET_NEW, &s), TF_E_EXIST);
	s.generation = 2;
	assert_int_equal(fx_one(f, BL_OP_SECRET_NEW, &s), 0);
	s.key = fx_id('k', 99);
	memset(s.digest, 3, sizeof s.digest);
	assert_int_equal(fx_one(f, BL_OP_SECRET_NEW, &s), TF_E_NOENT);
	memset(s.digest, 1, sizeof s.digest);
	s.until_ms = 1000;
	assert_int_equal(fx_one(f, BL_OP_SECRET_UNTIL, &s), 0);
	assert_int_equal(fx_int(f, "SELECT until_ms FROM secrets WHERE generation = 1"), 1000);
	assert_int_equal(fx_one(f, BL_OP_SECRET_DROP, &s), 0);
	assert_int_equal(fx_int(f, "SELECT count(*) FROM secrets"), 1);
}

/* ---- trouble ------------------------------------------------------------------------------ */

static void
wake_up(void *arg)
{
	sem_post(arg);
}

enum {
	OP_PAGES = 1000, /* arg int64_t: the file has that many pages at most */
	OP_FORGET,       /* arg sqlite3_stmt *: prepares one that the lane does not know */
};

/* A connection is its thread's alone: what is done to it is one more operation. */
static int
run_here(struct db_lane *lane, struct db_op *op)
{
	char sql[64];

	if (op->kind == OP_FORGET)
		return op->rc = sqlite3_prepare_v2(lane->db, "SELECT 1", -1, op->arg, NULL) == SQLITE_OK ? 0 : TF_E_IO;
	if (op->kind != OP_PAGES)
		return bl_schema.run(lane, op);
	snprintf(sql, sizeof sql, "PRAGMA max_page_count = %lld", (long long)*(const int64_t *)op->arg);
	return op->rc = sqlite3_exec(lane->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : TF_E_IO;
}

/* As fx_reopen, with those operations. */
static void
reopen_here(struct fixture *f)
{
	static struct db_schema schema;
	struct db_file file = { f->path, &schema, wake_up, &f->wake };
	char why[256] = "";

	schema = bl_schema;
	schema.run = run_here;
	db_store_close(&f->store);
	if (db_sqlite_open(&file, &f->store, why, sizeof why) != 0)
		fail_msg("open: %s", why);
}

/* negative: no limit */
static void
pages(struct fixture *f, int more)
{
	int64_t max = more < 0 ? 1000000 : fx_int(f, "PRAGMA page_count") + more;
	struct db_batch *b = fx_batch(f);

	assert_int_equal(db_batch_add(b, OP_PAGES, &max), 0);
	assert_int_equal(fx_run(f, b), 0);
}

static void
test_disk_full(void **state)
{
	struct fixture *f = *state;
	struct db_batch *b = fx_batch(f);
	struct bl_usage first = fx_usage(1), *u;

	reopen_here(f);
	assert_int_equal(tell(f, &first), BL_USAGE_NEW);
	pages(f, 2);
	b->lenient = true;
	for (unsigned i = 2; i < 1000; i++) {
		struct bl_usage v = fx_usage(i);

		u = bl_usage_copy(&v);
		assert_non_null(u);
		assert_int_equal(db_batch_add(b, BL_OP_USAGE, u), 0);
	}
	for (int turn = 0; turn < 2; turn++) {
		f->last = NULL;
		db_store_submit(f->store, b);
		while (f->last == NULL) {
			sem_wait(&f->wake);
			db_store_reap(f->store);
		}
		assert_int_equal(b->rc, turn == 0 ? TF_E_FULL : 0);
		/* all or nothing; the store works on, and the same batch goes in when there is room */
		assert_int_equal(fx_int(f, "SELECT count(*) FROM ledger"), turn == 0 ? 1 : 999);
		pages(f, -1);
	}
	assert_int_equal(fx_int(f, fx_days_check), 0);
	assert_int_equal(fx_int(f, "SELECT requests FROM usage_days"), 999);
	for (size_t i = 0; i < b->n; i++)
		free(b->ops[i].arg);
	db_batch_free(&b);
}

/* A connection that cannot be closed is a fault of ours, and is not kept quiet. */
static void
test_connection_stays_open(void **state)
{
	struct fixture *f = *state;
	struct db_batch *b = fx_batch(f);
	char path[] = "/tmp/bl-log.XXXXXX", line[512] = "";
	int fd = mkstemp(path), saved = dup(STDERR_FILENO);
	sqlite3_stmt *stmt = NULL;
	sqlite3 *db;

	assert_true(fd >= 0 && saved >= 0);
	unlink(path);
	reopen_here(f);
	assert_int_equal(db_batch_add(b, OP_FORGET, &stmt), 0);
	assert_int_equal(fx_run(f, b), 0);
	assert_non_null(stmt);
	dup2(fd, STDERR_FILENO);
	db_store_close(&f->store);
	dup2(saved, STDERR_FILENO);
	assert_true(pread(fd, line, sizeof line - 1, 0) > 0);
	assert_non_null(strstr(line, "stays open lane=writer"));
	assert_null(strstr(line, "lane=reader"));
	close(fd);
	close(saved);
	db = sqlite3_db_handle(stmt);
	sqlite3_finalize(stmt);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* Committed, then killed before anyone was told: telling it again finds it there. */
static void
test_killed_before_ack(void **state)
{
	struct fixture *f = *state;
	struct bl_usage u = fx_usage(1), v = fx_usage(2);
	pid_t pid;
	int status;

	db_store_close(&f->store);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		char why[256];
		struct db_batch *b;

		if (bl_sqlite_open(f->path, wake_up, &f->wake, &f->store, why, sizeof why) != 0)
			_exit(1);
		b = db_batch_new(NULL, NULL);
		b->lenient = true;
		if (db_batch_add(b, BL_OP_USAGE, &u) != 0)
			_exit(1);
		db_store_submit(f->store, b);
		sem_wait(&f->wake); /* durable; the callback never runs */
		kill(getpid(), SIGKILL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	while (sem_trywait(&f->wake) == 0)
		;
	fx_reopen(f);
	assert_int_equal(tell(f, &u), BL_USAGE_REPLAY);
	assert_int_equal(tell(f, &v), BL_USAGE_NEW);
	assert_int_equal(fx_int(f, "SELECT count(*) FROM ledger"), 2);
	assert_int_equal(fx_int(f, fx_days_check), 0);
	assert_int_equal(fx_int(f, "SELECT * FROM pragma_integrity_check WHERE integrity_check != 'ok'"), -1);
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, fx_setup, fx_teardown)
	const struct CMUnitTest tests[] = {
		T(test_told_twice), T(test_final_beats_lost), T(test_final_beats_provisional), T(test_charge_moves),
		T(test_one_charge_a_request), T(test_lenient), T(test_together), T(test_atomic),
		T(test_start), T(test_secrets), T(test_disk_full), T(test_connection_stays_open),
		T(test_killed_before_ack),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
