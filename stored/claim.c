/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims: which request runs under an idempotency key, and since when it is answered. One that is claimed
 * stays so until its answer is kept, its owner gives it back, or the loop says that the owner is no more.
 * Runs on the store's writing thread, so that of several that come at once one is first.
 */
#include "config.h"

#include "stored/sqlite.h"

static struct tf_span
hash_span(const uint8_t hash[static TF_SHA256])
{
	return tf_span(hash, TF_SHA256);
}

/* 1: there is one, and c says what it is; 0: none. */
static int
claim_find(struct db_lane *lane, struct st_claim *c, bool *same_body)
{
	struct db_q q = db_q(lane, ST_S_CLAIM_GET);
	int rc;

	db_q_id(&q, &c->workspace);
	db_q_str(&q, c->name);
	db_q_int(&q, c->now_ms);
	rc = db_q_step(&q);
	if (rc != 1)
		return rc;
	*same_body = tf_span_eq(db_q_col_span(&q), hash_span(c->body));
	db_q_col_blob(&q, c->is.request.b, sizeof c->is.request.b);
	db_q_col_blob(&q, c->is.claim.b, sizeof c->is.claim.b);
	db_q_col_text(&q, c->is.owner, sizeof c->is.owner);
	c->is.boot = (uint64_t)db_q_col_int(&q);
	c->is.turn = (uint64_t)db_q_col_int(&q);
	c->state = db_q_col_int(&q) ? WIRE_CLAIM_DONE : WIRE_CLAIM_RUNNING;
	db_q_end(&q);
	return 1;
}

static int
claim_put(struct db_lane *lane, struct st_claim *c)
{
	struct st_drop former = { .kind = WIRE_KIND_ANSWER, .workspace = c->workspace, .dir = c->dir };
	struct db_q q;
	int64_t expires;
	int rc;

	/* an answer whose time is over, and that the sweep has not come by */
	memcpy(former.name, c->name, sizeof former.name);
	rc = st_object_drop(lane, &former, &expires);
	if (rc < 0)
		return rc;
	q = db_q(lane, ST_S_CLAIM_PUT);
	db_q_id(&q, &c->workspace);
	db_q_str(&q, c->name);
	db_q_blob(&q, c->body, sizeof c->body);
	db_q_id(&q, &c->request);
	db_q_id(&q, &c->claim);
	db_q_str(&q, c->owner);
	db_q_int(&q, (int64_t)c->boot);
	db_q_int(&q, c->expires_ms);
	c->state = WIRE_CLAIM_FRESH;
	c->is.request = c->request;
	c->is.turn = 0;
	return db_q_run(&q);
}

/* The owner was lost: the request runs again, as the one that it was. */
static int
claim_take(struct db_lane *lane, struct st_claim *c)
{
	struct db_q q = db_q(lane, ST_S_CLAIM_TAKE);

	db_q_id(&q, &c->workspace);
	db_q_str(&q, c->name);
	db_q_id(&q, &c->is.claim);
	db_q_id(&q, &c->claim);
	db_q_str(&q, c->owner);
	db_q_int(&q, (int64_t)c->boot);
	db_q_int(&q, c->expires_ms);
	c->state = WIRE_CLAIM_FRESH;
	c->is.turn++;
	return db_q_run(&q);
}

int
st_op_claim(struct db_lane *lane, struct st_claim *c)
{
	struct st_mark mark = st_file_mark(lane);
	bool same_body = false;
	int rc = claim_find(lane, c, &same_body);

	if (rc == 0)
		rc = claim_put(lane, c);
	else if (rc == 1 && !same_body)
		c->state = WIRE_CLAIM_OTHER;
	else if (rc == 1 && c->state == WIRE_CLAIM_RUNNING && tf_id_eq(c->is.claim, c->claim))
		c->state = WIRE_CLAIM_FRESH; /* asked again, for the answer did not arrive */
	else if (rc == 1 && c->state == WIRE_CLAIM_RUNNING && c->lost && tf_id_eq(c->is.claim, c->lost_claim))
		rc = claim_take(lane, c);
	if (rc < 0)
		st_file_undo(lane, mark);
	return rc < 0 ? rc : 0;
}

int
st_op_claim_done(struct db_lane *lane, const struct st_put *p)
{
	struct db_q q = db_q(lane, ST_S_CLAIM_DONE);
	int rc;

	db_q_id(&q, &p->workspace);
	db_q_str(&q, p->name);
	db_q_id(&q, &p->claim);
	db_q_int(&q, p->expires_ms);
	rc = db_q_step(&q);
	if (rc == 1) {
		db_q_end(&q);
		return 0;
	}
	return rc == 0 ? TF_E_NOENT : rc;
}

int
st_op_release(struct db_lane *lane, const struct st_claim *c)
{
	struct db_q q = db_q(lane, ST_S_CLAIM_RELEASE);

	db_q_id(&q, &c->workspace);
	db_q_str(&q, c->name);
	db_q_id(&q, &c->claim);
	return db_q_run(&q);
}
