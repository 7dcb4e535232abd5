/* SPDX-License-Identifier: Apache-2.0 */
/*
 * billingd put together: opens the store, loads it, listens, drains. Knows the order of
 * things and nothing else.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "billingd/billingd.h"

#define USED_FLUSH_MS 60000

/* ---- the store on the loop ---------------------------------------------------------------- */

static void
store_reap(void *arg)
{
	struct bl *bl = arg;

	if (bl->store != NULL)
		db_store_reap(bl->store);
}

/* On the store's thread. Without memory for a post the next one, or the tick, brings this too. */
static void
store_wake(void *arg)
{
	struct bl *bl = arg;

	(void)!ev_post(bl->loop, store_reap, bl);
}

static int
store_open(struct bl *bl)
{
	const char *path = bl->conf->billingd.database;
	char why[512] = "";
	int rc;

	rc = bl_pepper_load(bl->conf, &bl->pepper, why, sizeof why);
	if (rc != 0) {
		tf_log(TF_ERROR, "store", NULL, "no pepper reason=%s", tf_log_q(tf_cspan(why)));
		return rc;
	}
	rc = bl_sqlite_open(path, store_wake, bl, &bl->store, why, sizeof why);
	if (rc != 0)
		tf_log(TF_ERROR, "store", NULL, "the database cannot be opened file=%s reason=%s", tf_log_q(tf_cspan(path)),
		    tf_log_q(tf_cspan(why)));
	return rc;
}

/* ---- loading ------------------------------------------------------------------------------ */

static void
loaded(struct db_batch *b, void *arg)
{
	struct bl_start *s = b->ops[0].arg;
	struct bl *bl = arg;
	int rc = b->rc;

	if (rc == 0) {
		bl->epoch = s->epoch;
		bl->change = s->change;
		rc = bl_index_load(&bl->index, s);
		if (rc == 0) {
			bl_limits_load(bl, s);
			rc = bl_peers_load(bl, s);
		}
	}
	if (rc == TF_E_STATE)
		tf_log(TF_ERROR, "store", NULL, "the pepper file is not the one this database was made with");
	else if (rc != 0)
		tf_log(TF_ERROR, "store", NULL, "the database cannot be loaded error=%s", tf_err_text(rc));
	bl->loaded = true;
	bl->failed = rc != 0;
	bl_start_fini(s);
	free(s);
	db_batch_free(&b);
}

/* Without the loop: commands and signals must not come before there is something to command. */
static int
load(struct bl *bl)
{
	struct bl_start *s = calloc(1, sizeof *s);
	struct db_batch *b = db_batch_new(loaded, bl);

	if (s == NULL || b == NULL || db_batch_add(b, BL_OP_START, s) != 0) {
		free(s);
		db_batch_free(&b);
		return TF_E_NOMEM;
	}
	s->now_ms = bl->started_ms;
	s->pepper = bl->pepper.number;
	db_store_submit(bl->store, b);
	while (!bl->loaded)
		db_store_wait(bl->store);
	return bl->failed ? TF_E_IO : 0;
}

/* ---- life --------------------------------------------------------------------------------- */

static void
on_tick(void *arg)
{
	struct bl *bl = arg;
	uint64_t now = tf_mono_ms();

	ev_timer_set(&bl->tick, BL_TICK_MS);
	db_store_reap(bl->store);
	bl_admit_tick(bl);
	bl_peers_tick(bl, now);
	bl_ledger_tick(bl, now);
	bl_deploy_tick(bl, now);
	bl_tidy_tick(bl, now);
	if (now - bl->used_flushed >= USED_FLUSH_MS) {
		bl->used_flushed = now;
		bl_admin_flush_used(bl);
	}
}

static int
listen_here(struct bl *bl)
{
	struct wire_self self = { .name = "billingd", .role = WIRE_ROLE_BL, .boot = tf_random_u64(), .epoch = bl->epoch,
		.build = PACKAGE_VERSION, .heartbeat_ms = (unsigned)bl->conf->common.heartbeat, .roles = WIRE_ROLE_GW };
	struct wire_hooks hooks = bl_peers_hooks(bl);
	char endpoint[512];
	int rc = TF_E_RANGE, n;

	n = snprintf(endpoint, sizeof endpoint, "ipc://%s/billingd.sock", bl->conf->common.run_dir);
	if (n > 0 && (size_t)n < sizeof endpoint)
		rc = wire_hub_new(bl->loop, bl->zctx, &self, endpoint, &hooks, &bl->hub);
	if (rc != 0) {
		tf_log(TF_ERROR, "peers", NULL, "cannot listen for gateways endpoint=%s error=%s", tf_log_q(tf_cspan(endpoint)),
		    rc == TF_E_EXIST ? "another billingd runs" : tf_err_text(rc));
		return rc;
	}
	wire_hub_key_change(bl->hub, bl->change);
	/* the endpoint is ours, so nobody else's board is in the way; no gateway is heard before the loop runs */
	rc = wire_board_create(bl->conf->common.run_dir, self.boot, &bl->board);
	if (rc != 0)
		tf_log(TF_ERROR, "peers", NULL, "cannot make the board in run-dir path=%s error=%s",
		    tf_log_q(tf_cspan(bl->conf->common.run_dir)), tf_err_text(rc));
	else
		wire_board_change(bl->board, bl->change);
	return rc;
}

int
bl_new(struct ev_loop *loop, const struct conf *conf, struct bl **out)
{
	struct bl *bl = calloc(1, sizeof *bl);
	int rc = TF_E_NOMEM;

	if (bl == NULL)
		return rc;
	bl->loop = loop;
	bl->conf = conf;
	bl->conf_number = 1;
	bl->started_ms = bl_wall_ms();
	bl->used_flushed = tf_mono_ms();
	bl_peers_init(bl);
	bl_ledger_init(bl);
	ev_timer_init(&bl->tick, loop, on_tick, bl);
	bl_admit_init(bl);
	bl->zctx = ev_zctx_new(1);
	if (bl->zctx != NULL && (rc = store_open(bl)) == 0 && (rc = load(bl)) == 0 && (rc = listen_here(bl)) == 0) {
		ev_timer_set(&bl->tick, BL_TICK_MS);
		tf_log(TF_INFO, "daemon", NULL, "ready epoch=%llu workspaces=%zu keys=%zu", (unsigned long long)bl->epoch,
		    bl->index.workspaces.n, bl->index.keys.n);
		bl_limits_check(bl);
		*out = bl;
		return 0;
	}
	bl_free(&bl);
	return rc;
}

void
bl_free(struct bl **blp)
{
	struct bl *bl = *blp;

	if (bl == NULL)
		return;
	/* callbacks that still run from here on submit nothing */
	bl->closing = true;
	ev_timer_del(&bl->tick);
	bl_admit_fini(bl);
	wire_hub_free(&bl->hub);
	bl_ledger_stop(bl);
	db_store_close(&bl->store);
	bl_ledger_free(bl);
	bl_peers_free(bl);
	wire_board_close(&bl->board);
	bl_index_free(&bl->index);
	bl_pepper_free(&bl->pepper);
	ev_zctx_free(&bl->zctx);
	free(bl);
	*blp = NULL;
}

void
bl_reload(struct bl *bl, const struct conf *conf)
{
	bl->conf = conf;
	bl->conf_number++;
	bl_tidy_reload(bl);
	bl_limits_check(bl);
	/* plans may have changed: gateways ask again, and grants of former limits run out */
	bl_admin_tell(bl, NULL, NULL);
}

void
bl_check_drained(struct bl *bl)
{
	if (bl->closing || bl->drained == NULL || bl->changes > 0 || !bl_ledger_idle(&bl->ledger))
		return;
	/* what has just been committed moved them on; once, for a disk in trouble must not hold up the end */
	if (!bl->used_last) {
		bl->used_last = true;
		bl_admin_flush_used(bl);
		if (bl->changes > 0)
			return;
	}
	bl->drained(bl->drained_arg);
}

void
bl_drain(struct bl *bl, void (*drained)(void *arg), void *arg)
{
	bl->drained = drained;
	bl->drained_arg = arg;
	bl_ledger_hurry(bl);
	bl_check_drained(bl);
}
