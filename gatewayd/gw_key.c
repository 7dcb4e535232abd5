/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is behind a key. A thread keeps what billingd said of a key's digest and believes it as long
 * as billingd is heard and no change was announced; a silence of GW_LINK_FRESH_MS or a gap in the
 * change numbers makes everything unverified, so that a revoked key stops within a second.
 *
 * An announcement travels, and the operator's command may be over before it is here. So the number of the
 * last change on billingd's board is looked at with every request: while it is ahead of what was announced,
 * a key is asked for anew before it is used, once. What bounds it has changed too when the answer is here, for
 * the recall of what was granted under former limits was sent before, on the same link.
 *
 * Holds no key text: the digest is made on the stack and the text stays in the request head.
 */
#include "config.h"

#include <stdlib.h>

#include "gatewayd/gw.h"
#include "gatewayd/gw_limit.h"

#define GW_REFUSED_MS 1000  /* how long a refusal is believed; a new key is announced anyway */
#define GW_IMPORTED_RATE 50 /* look-ups a second of keys that carry no checksum of ours */

/* Number of the last change that billingd has made, whether it was announced here or not. */
static uint64_t
gw_key_last_change(const struct gw_thread *t)
{
	uint64_t seen = t->board != NULL ? wire_board_changed(t->board) : 0;

	return seen > t->key_change ? seen : t->key_change;
}

/* A change was made that we have not heard of, and it may be one of this key. */
static bool
gw_key_behind(const struct gw_thread *t, const struct gw_key *k)
{
	uint64_t last = gw_key_last_change(t);

	return last > t->key_change && last > k->as_of;
}

static void
gw_key_clear(struct gw_key *k)
{
	free(k->name);
	free(k->workspace_name);
	free(k->plan);
	for (size_t i = 0; i < k->nmodels; i++)
		free(k->models[i]);
	free(k->models);
	gw_may_clear(&k->may);
	k->name = k->workspace_name = k->plan = NULL;
	k->models = NULL;
	k->nmodels = 0;
}

static void
gw_key_free(struct gw_thread *t, struct gw_key *k)
{
	tf_map_del(&t->keys, tf_span(k->digest, sizeof k->digest));
	if (k->state == GW_KEY_ASKED && tf_map_del(&t->asks, tf_id_span(&k->ask)) != NULL)
		t->asked--;
	tf_list_remove(&t->keys_lru, &k->lru);
	if (tf_node_linked(&k->busy))
		tf_list_remove(&t->keys_busy, &k->busy);
	if (k->granting)
		tf_map_del(&t->asks, tf_id_span(&k->grant_id));
	gw_grant_key_free(k);
	gw_space_leave(t, k);
	gw_key_clear(k);
	free(k);
}

void
gw_key_busy(struct gw_thread *t, struct gw_key *k)
{
	if (!tf_node_linked(&k->busy))
		tf_list_append(&t->keys_busy, &k->busy);
}

static bool
gw_key_idle(const struct gw_key *k)
{
	return k->state != GW_KEY_ASKED && k->waiting.n == 0 && k->admitting.n == 0 && k->grants.n == 0 && !k->granting;
}

/* Makes room for one more: the least recently used entry that nobody needs. */
static bool
gw_key_evict(struct gw_thread *t)
{
	struct tf_node *e, *tmp;

	if (t->keys.n < GW_KEYS_MAX)
		return true;
	TF_LIST_EACH(&t->keys_lru, e, tmp) {
		struct gw_key *k = TF_CONTAINER(e, struct gw_key, lru);

		if (k->refs > 0 || k->waiting.n > 0 || k->state == GW_KEY_ASKED || k->grants.n > 0 || k->granting)
			continue;
		gw_key_free(t, k);
		return true;
	}
	return false;
}

static struct gw_key *
gw_key_new(struct gw_thread *t, const uint8_t digest[static TF_SHA256])
{
	struct gw_key *k;

	if (!gw_key_evict(t))
		return NULL;
	k = calloc(1, sizeof *k);
	if (k == NULL)
		return NULL;
	memcpy(k->digest, digest, TF_SHA256);
	k->state = GW_KEY_STALE;
	tf_list_init(&k->waiting);
	tf_list_init(&k->admitting);
	tf_list_init(&k->grants);
	if (tf_map_put(&t->keys, tf_span(k->digest, sizeof k->digest), k) != 0) {
		free(k);
		return NULL;
	}
	tf_list_append(&t->keys_lru, &k->lru);
	return k;
}

static int
gw_key_ask(struct gw_thread *t, struct gw_key *k)
{
	struct wire_peer *p = gw_billing(t);
	struct wire_key_ask ask = { .digest = tf_span(k->digest, sizeof k->digest) };

	if (p == NULL)
		return TF_E_CLOSED;
	if (t->asked >= GW_KEYS_ASKED_MAX)
		return TF_E_FULL;
	k->ask = tf_id_new();
	if (tf_map_put(&t->asks, tf_id_span(&k->ask), k) != 0)
		return TF_E_NOMEM;
	if (wire_send_key_ask(p, &k->ask, 0, &ask, (struct tf_span){ 0 }) != 0) {
		tf_map_del(&t->asks, tf_id_span(&k->ask));
		return TF_E_CLOSED;
	}
	k->state = GW_KEY_ASKED;
	gw_key_busy(t, k);
	k->asked = tf_mono_ms();
	t->asked++;
	return 0;
}

/*
 * "Bearer KEY" or the text of x-api-key; empty when there is none. Clients set up for another vendor send its key
 * in one of the two: x-api-key is taken if it is one of ours.
 */
static struct tf_span
gw_key_text(const struct http_req *http)
{
	struct tf_span a = http_req_get(http, HTTP_H_AUTHORIZATION);
	struct tf_span x = http_req_get(http, HTTP_H_X_API_KEY);

	if (x.p != NULL && tf_apikey_check(tf_span(x.p, x.n)) == TF_APIKEY_MINTED)
		return tf_span(x.p, x.n);
	if (a.p != NULL && a.n > 7 && tf_span_caseeq((struct tf_span){ a.p, 7 }, "Bearer ")) {
		a.p += 7;
		a.n -= 7;
		while (a.n > 0 && *a.p == ' ') {
			a.p++;
			a.n--;
		}
		return tf_span(a.p, a.n);
	}
	if (x.p != NULL)
		return tf_span(x.p, x.n);
	return (struct tf_span){ 0 };
}

/*
 * Keys without our checksum may be guesses: their look-ups are few a second, all clients of the
 * thread together, so that nobody can make billingd search for garbage.
 */
static bool
gw_key_imported_ok(uint64_t now)
{
	static _Thread_local uint64_t second;
	static _Thread_local unsigned count;

	if (now / 1000 != second) {
		second = now / 1000;
		count = 0;
	}
	return count++ < GW_IMPORTED_RATE;
}

static int
gw_key_wait(struct gw_req *req, struct gw_key *k)
{
	/* a silence is behind us: whatever we knew must be asked again before it is believed */
	if (k->state != GW_KEY_ASKED)
		k->state = GW_KEY_STALE;
	tf_list_append(&k->waiting, &req->wait);
	gw_key_busy(req->t, k);
	req->wait_since = tf_mono_ms();
	req->change = gw_key_last_change(req->t);
	gw_req_to(req, GW_S_AUTH);
	return TF_E_AGAIN;
}

/* billingd is away: does the operator let this key go on all the same? Not when it may have been changed. */
static bool
gw_key_unmetered(const struct gw_thread *t, const struct gw_conf *conf, const struct gw_key *k, uint64_t now)
{
	return conf->c->gatewayd.serve_unmetered && k->state != GW_KEY_REFUSED && k->space != NULL && k->plan != NULL &&
	    !k->changed && !gw_key_behind(t, k) && k->until > now;
}

int
gw_key_auth(struct gw_req *req)
{
	struct gw_thread *t = req->t;
	struct tf_span text = gw_key_text(req->http);
	enum tf_apikey_kind kind = tf_apikey_check(text);
	uint64_t now = tf_mono_ms();
	uint8_t digest[TF_SHA256];
	struct gw_key *k;
	bool fresh;

	if (kind == TF_APIKEY_BAD)
		return TF_E_UNAUTHORIZED;
	tf_sha256(text.p, text.n, digest);
	k = tf_map_get(&t->keys, tf_span(digest, sizeof digest));
	if (k == NULL) {
		if (kind == TF_APIKEY_IMPORTED && !gw_key_imported_ok(now))
			return TF_E_OVERLOADED; /* it may be good: not a final answer */
		k = gw_key_new(t, digest);
		if (k == NULL)
			return TF_E_OVERLOADED;
	}
	req->key = k;
	k->refs++;
	tf_list_remove(&t->keys_lru, &k->lru);
	tf_list_append(&t->keys_lru, &k->lru);
	fresh = gw_thread_billing_fresh(t);
	if (!fresh && gw_key_unmetered(t, req->conf, k, now))
		return 0;
	if ((k->state == GW_KEY_KNOWN || k->state == GW_KEY_REFUSED) && (k->until <= now || gw_key_behind(t, k)))
		k->state = GW_KEY_STALE;
	if (k->state == GW_KEY_KNOWN && fresh)
		return 0;
	if (k->state == GW_KEY_REFUSED && fresh)
		return TF_E_UNAUTHORIZED;
	if (k->state != GW_KEY_ASKED && fresh && gw_key_ask(t, k) == TF_E_FULL)
		return TF_E_OVERLOADED;
	return gw_key_wait(req, k);
}

/* Those who came before any change behind that one; the order of arrival is that of the numbers. */
static void
gw_key_wake(struct gw_key *k, int err, uint64_t change)
{
	struct tf_node *e;
	size_t n = k->waiting.n; /* those who come back to wait again are not for this round */

	while (n-- > 0 && (e = tf_list_first(&k->waiting)) != NULL) {
		struct gw_req *req = TF_CONTAINER(e, struct gw_req, wait);

		if (req->change > change)
			return;
		tf_list_remove(&k->waiting, e);
		gw_req_authed(req, err);
	}
}

static int
gw_key_models(struct gw_key *k, struct wire_rep rep)
{
	struct tf_span s;

	while (wire_next(&rep, &s)) {
		char **v = realloc(k->models, (k->nmodels + 1) * sizeof *v);

		if (v == NULL)
			return TF_E_NOMEM;
		k->models = v;
		v[k->nmodels] = tf_span_dup(s);
		if (v[k->nmodels] == NULL)
			return TF_E_NOMEM;
		k->nmodels++;
	}
	return 0;
}

static int
gw_key_learn(struct gw_thread *t, struct gw_key *k, const struct wire_key *m, uint64_t now)
{
	if (m->key.n != sizeof k->id || m->workspace.n != sizeof k->workspace)
		return TF_E_PROTO;
	gw_key_clear(k);
	memcpy(k->id, m->key.p, sizeof k->id);
	if (k->space == NULL || memcmp(k->workspace, m->workspace.p, sizeof k->workspace) != 0) {
		memcpy(k->workspace, m->workspace.p, sizeof k->workspace);
		if (gw_space_join(t, k, k->workspace) != 0)
			return TF_E_NOMEM;
	}
	k->name = tf_span_dup(m->key_name);
	k->workspace_name = tf_span_dup(m->workspace_name);
	k->plan = tf_span_dup(m->plan);
	k->rpm = m->rpm;
	k->tpm = m->tpm;
	k->own_rpm = m->key_rpm;
	k->own_tpm = m->key_tpm;
	k->until = wire_has(m, KEY, expires_ms) ? now + m->expires_ms : UINT64_MAX;
	if (k->name == NULL || k->workspace_name == NULL || k->plan == NULL)
		return TF_E_NOMEM;
	gw_limits_key(t, k, m);
	if (gw_may_learn(&k->may, m) != 0)
		return TF_E_NOMEM;
	return gw_key_models(k, m->model);
}

void
gw_key_answer(struct gw_thread *t, const struct wire_frame *f, const struct wire_key *m)
{
	struct gw_key *k = tf_map_get(&t->asks, tf_id_span(&f->id));
	uint64_t now = tf_mono_ms();
	int err = 0;

	if (k == NULL || k->state != GW_KEY_ASKED || !tf_id_eq(k->ask, f->id))
		return;
	tf_map_del(&t->asks, tf_id_span(&f->id));
	t->asked--;
	/* an answer from before a change we know of proves nothing: ask again */
	if (m->change < t->key_change) {
		k->state = GW_KEY_STALE;
		if (k->waiting.n > 0)
			(void)gw_key_ask(t, k);
		return;
	}
	if (m->status == WIRE_KEY_ACTIVE)
		err = gw_key_learn(t, k, m, now);
	else
		err = TF_E_UNAUTHORIZED;
	k->state = err == 0 ? GW_KEY_KNOWN : GW_KEY_REFUSED;
	k->as_of = m->change;
	k->changed = false;
	if (err != 0)
		k->until = now + GW_REFUSED_MS;
	if (err < 0)
		err = TF_E_SERVER_ERROR;
	gw_key_wake(k, err, m->change);
	if (k->waiting.n > 0 && k->state != GW_KEY_ASKED) {
		/* a change was made while the question was under way, and then they came */
		k->state = GW_KEY_STALE;
		(void)gw_key_ask(t, k);
	}
}

static bool
gw_key_hit(const struct gw_key *k, const struct wire_key_change *m)
{
	if (m->key.n == 0 && m->workspace.n == 0)
		return true;
	/* an unknown digest may be the key that was just minted */
	if (k->state == GW_KEY_REFUSED)
		return true;
	return (m->key.n == sizeof k->id && memcmp(m->key.p, k->id, sizeof k->id) == 0) ||
	    (m->workspace.n == sizeof k->workspace && memcmp(m->workspace.p, k->workspace, sizeof k->workspace) == 0);
}

static void
gw_key_distrust(struct gw_key *k, bool changed)
{
	if (changed)
		k->changed = true;
	if (changed && k->space != NULL)
		k->space->changed = true;
	if (k->state != GW_KEY_ASKED)
		k->state = GW_KEY_STALE;
}

void
gw_key_changed(struct gw_thread *t, const struct wire_key_change *m)
{
	struct tf_node *e, *tmp;

	if (m->change > t->key_change + 1) {
		gw_key_distrust_all(t, true);
	} else {
		TF_LIST_EACH(&t->keys_lru, e, tmp) {
			struct gw_key *k = TF_CONTAINER(e, struct gw_key, lru);

			if (gw_key_hit(k, m))
				gw_key_distrust(k, true);
		}
	}
	if (m->change > t->key_change)
		t->key_change = m->change;
}

void
gw_key_distrust_all(struct gw_thread *t, bool changed)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&t->keys_lru, e, tmp)
		gw_key_distrust(TF_CONTAINER(e, struct gw_key, lru), changed);
}

/* Questions that were under way when the link broke will never be answered. */
static void
gw_key_forget_asks(struct gw_thread *t)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&t->keys_lru, e, tmp) {
		struct gw_key *k = TF_CONTAINER(e, struct gw_key, lru);

		if (k->state != GW_KEY_ASKED)
			continue;
		if (tf_map_del(&t->asks, tf_id_span(&k->ask)) != NULL)
			t->asked--;
		k->state = GW_KEY_STALE;
	}
}

void
gw_key_link_up(struct gw_thread *t)
{
	struct tf_node *e, *tmp, *w, *next;

	gw_key_forget_asks(t);
	gw_key_distrust_all(t, false);
	TF_LIST_EACH(&t->keys_lru, e, tmp) {
		struct gw_key *k = TF_CONTAINER(e, struct gw_key, lru);

		/* a billingd on an older copy of its database has smaller numbers */
		TF_LIST_EACH(&k->waiting, w, next)
			TF_CONTAINER(w, struct gw_req, wait)->change = gw_key_last_change(t);
		if (k->waiting.n > 0)
			(void)gw_key_ask(t, k);
	}
}

void
gw_key_drop(struct gw_req *req)
{
	struct gw_key *k = req->key;

	if (k == NULL)
		return;
	if (tf_node_linked(&req->wait) && req->state == GW_S_AUTH)
		tf_list_remove(&k->waiting, &req->wait);
	k->refs--;
	req->key = NULL;
}

void
gw_key_tick(struct gw_thread *t, uint64_t now)
{
	struct wire_peer *p = gw_billing(t);
	struct tf_node *e, *tmp;

	/* a heartbeat names a change that never reached us */
	if (p != NULL && p->key_change > t->key_change) {
		t->key_change = p->key_change;
		gw_key_distrust_all(t, true);
	}
	TF_LIST_EACH(&t->keys_busy, e, tmp) {
		struct gw_key *k = TF_CONTAINER(e, struct gw_key, busy);

		if (k->state == GW_KEY_ASKED && now - k->asked > GW_ASK_MS) {
			if (tf_map_del(&t->asks, tf_id_span(&k->ask)) != NULL)
				t->asked--;
			k->state = GW_KEY_STALE;
		}
		if (k->state == GW_KEY_STALE && k->waiting.n > 0) {
			if (gw_thread_billing_fresh(t))
				(void)gw_key_ask(t, k);
			else if (gw_key_unmetered(t, t->conf, k, now))
				gw_key_wake(k, 0, UINT64_MAX);
		}
		if (k->grants.n > 0 || k->admitting.n > 0 || k->granting)
			gw_admit_key_tick(t, k, now);
		if (gw_key_idle(k))
			tf_list_remove(&t->keys_busy, &k->busy);
	}
	TF_LIST_EACH(&t->state[GW_S_AUTH], e, tmp) {
		struct gw_req *req = TF_CONTAINER(e, struct gw_req, node);

		if (now - req->wait_since < GW_WAIT_MS)
			continue;
		tf_list_remove(&req->key->waiting, &req->wait);
		gw_req_authed(req, TF_E_OVERLOADED);
	}
}

void
gw_keys_free(struct gw_thread *t)
{
	struct tf_node *e;

	while ((e = tf_list_first(&t->keys_lru)) != NULL)
		gw_key_free(t, TF_CONTAINER(e, struct gw_key, lru));
	tf_map_free(&t->keys);
	tf_map_free(&t->asks);
	tf_map_free(&t->spaces);
}
