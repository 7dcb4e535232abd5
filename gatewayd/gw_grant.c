/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Grants: what billingd hands a thread of a key's limits, for a second or two. Requests are admitted from them
 * without a round trip. They are asked for ahead of need, sized by what the key used in the last second. Called by
 * gw_admit.c.
 */
#include "config.h"

#include <stdlib.h>

#include "gatewayd/gw.h"
#include "gatewayd/gw_limit.h"

#define GW_GRANT_AHEAD_MS 700 /* a grant that ends within this is replaced while the key is busy */
#define GW_AHEAD_PAUSE_MS 100 /* between two such questions: near a limit each brings next to nothing */
#define GW_WANTED_MAX 64      /* waiting requests whose needs make up what is wanted */
#define GW_SLOTS_PART 8       /* one slot wanted for so many requests in the last second, beside those that wait */
#define GW_ALWAYS_BOUNDED (1u << GW_U_REQUESTS | 1u << GW_U_TOKENS)

/* ---- workspaces ------------------------------------------------------------------------------ */

int
gw_space_join(struct gw_thread *t, struct gw_key *k, const uint8_t id[static 16])
{
	struct gw_space *s = tf_map_get(&t->spaces, tf_span(id, 16));

	gw_space_leave(t, k);
	if (s == NULL) {
		s = calloc(1, sizeof *s);
		if (s == NULL)
			return TF_E_NOMEM;
		memcpy(s->id, id, sizeof s->id);
		tf_list_init(&s->keys);
		if (tf_map_put(&t->spaces, tf_span(s->id, sizeof s->id), s) != 0) {
			free(s);
			return TF_E_NOMEM;
		}
	}
	tf_list_append(&s->keys, &k->of_space);
	k->space = s;
	return 0;
}

void
gw_space_leave(struct gw_thread *t, struct gw_key *k)
{
	struct gw_space *s = k->space;

	k->space = NULL;
	if (s == NULL)
		return;
	tf_list_remove(&s->keys, &k->of_space);
	if (s->keys.n > 0)
		return;
	tf_map_del(&t->spaces, tf_span(s->id, sizeof s->id));
	free(s);
}

static struct gw_room *
gw_room_of(struct gw_key *k, enum gw_window w)
{
	return w == GW_W_KEY ? &k->minute : w == GW_W_MINUTE ? &k->space->minute : &k->space->budget;
}

/* ---- the end of a grant ------------------------------------------------------------------------ */

/* Out of our hands: given back by the return of that number, or used up. */
static void
gw_grant_drop(struct gw_key *k, struct gw_grant *g, uint64_t back)
{
	for (unsigned w = 0; w < GW_ROOMS && k->space != NULL; w++)
		gw_room_drop(gw_room_of(k, w), g->windows.v[w], g->left.v[GW_U_REQUESTS], g->left.v[GW_U_TOKENS], back);
	tf_list_remove(&k->grants, &g->node);
	free(g);
}

static void
gw_grant_give_back(struct gw_thread *t, struct tf_span key, uint64_t number, const struct gw_amount *unused)
{
	struct wire_peer *p = gw_billing(t);
	struct wire_grant_return m = {
		.key = key, .grant = number, .requests = unused->v[GW_U_REQUESTS], .tokens = unused->v[GW_U_TOKENS],
		.money = unused->v[GW_U_MONEY], .images = unused->v[GW_U_IMAGES], .audio_ms = unused->v[GW_U_AUDIO_MS],
		.slots = unused->v[GW_U_SLOTS], .number = ++t->returns,
	};

	if (p != NULL)
		(void)wire_send_grant_return(p, NULL, 0, &m, (struct tf_span){ 0 });
}

static void
gw_grant_return(struct gw_thread *t, struct gw_key *k, struct gw_grant *g)
{
	gw_grant_give_back(t, tf_span(k->id, sizeof k->id), g->number, &g->left);
	gw_grant_drop(k, g, t->returns);
}

void
gw_grant_return_all(struct gw_thread *t)
{
	struct tf_node *e, *tmp, *ge, *gtmp;

	TF_LIST_EACH(&t->keys_lru, e, tmp) {
		struct gw_key *k = TF_CONTAINER(e, struct gw_key, lru);

		TF_LIST_EACH(&k->grants, ge, gtmp)
			gw_grant_return(t, k, TF_CONTAINER(ge, struct gw_grant, node));
	}
}

void
gw_grant_void(struct gw_thread *t)
{
	struct tf_node *e, *tmp, *ge, *gtmp;

	TF_LIST_EACH(&t->keys_lru, e, tmp) {
		struct gw_key *k = TF_CONTAINER(e, struct gw_key, lru);

		TF_LIST_EACH(&k->grants, ge, gtmp)
			gw_grant_drop(k, TF_CONTAINER(ge, struct gw_grant, node), 0);
		for (unsigned w = 0; w < GW_ROOMS && k->space != NULL; w++)
			gw_room_lost(gw_room_of(k, w));
	}
}

void
gw_grant_key_free(struct gw_key *k)
{
	struct tf_node *e;

	while ((e = tf_list_first(&k->grants)) != NULL)
		gw_grant_drop(k, TF_CONTAINER(e, struct gw_grant, node), 0);
}

/* Only keys under way hold grants, so only those are looked at. */
void
gw_grant_recall(struct gw_thread *t, const struct wire_grant_recall *m)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&t->keys_busy, e, tmp) {
		struct gw_key *k = TF_CONTAINER(e, struct gw_key, busy);
		struct tf_node *ge, *gtmp;

		if (m->key.n != sizeof k->id || memcmp(m->key.p, k->id, sizeof k->id) != 0)
			continue;
		TF_LIST_EACH(&k->grants, ge, gtmp)
			gw_grant_return(t, k, TF_CONTAINER(ge, struct gw_grant, node));
	}
}

void
gw_grant_key_tick(struct gw_thread *t, struct gw_key *k, uint64_t now)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&k->grants, e, tmp) {
		struct gw_grant *g = TF_CONTAINER(e, struct gw_grant, node);

		if (g->expires <= now)
			gw_grant_return(t, k, g);
	}
	if (k->granting && now - k->grant_asked > GW_ASK_MS)
		gw_grant_ask_forget(t, k);
}

/* ---- taking ------------------------------------------------------------------------------------ */

/* Does it still live, in the windows of the newest one? What a request holds is of one set of windows. */
static bool
gw_grant_serves(const struct gw_key *k, const struct gw_grant *g, uint64_t now)
{
	return g->expires > now && gw_windows_eq(&g->windows, &k->windows);
}

static bool
gw_amount_none(const struct gw_amount *a)
{
	for (unsigned u = 0; u < GW_UNITS; u++)
		if (a->v[u] > 0)
			return false;
	return true;
}

/* Do the grants that live have that much? open: the bits of what the first ones that have it do not bound. */
static bool
gw_grants_have(const struct gw_key *k, uint64_t now, const struct gw_amount *want, unsigned *open)
{
	struct gw_amount sum = { { 0 } };
	struct tf_node *e, *tmp;

	*open = 0;
	TF_LIST_EACH(&k->grants, e, tmp) {
		const struct gw_grant *g = TF_CONTAINER(e, struct gw_grant, node);
		unsigned short_of = 0;

		if (!gw_grant_serves(k, g, now))
			continue;
		*open |= ~g->bounded;
		for (unsigned u = 0; u < GW_UNITS; u++) {
			sum.v[u] += g->left.v[u];
			if (sum.v[u] < want->v[u])
				short_of |= 1u << u;
		}
		if ((short_of & ~*open) == 0)
			return true;
	}
	return gw_amount_none(want);
}

/* Takes as much of rest as this grant has. */
static void
gw_grant_take_from(struct gw_req *req, struct gw_grant *g, struct gw_amount *rest)
{
	struct gw_key *k = req->key;
	struct gw_amount took = { { 0 } };

	for (unsigned u = 0; u < GW_UNITS; u++) {
		took.v[u] = g->left.v[u] < rest->v[u] ? g->left.v[u] : rest->v[u];
		g->left.v[u] -= took.v[u];
		rest->v[u] -= took.v[u];
		req->reserved.v[u] += took.v[u];
	}
	for (unsigned w = 0; w < GW_ROOMS; w++)
		gw_room_drop(gw_room_of(k, w), g->windows.v[w], took.v[GW_U_REQUESTS], took.v[GW_U_TOKENS], 0);
	/* one that is used up has nothing to be recalled: whoever waits for room need not wait for it */
	if (gw_amount_none(&g->left))
		gw_grant_return(req->t, k, g);
}

static void
gw_rate_count(struct gw_key *k, uint64_t now, const struct gw_amount *need)
{
	if (now - k->rate_at >= 1000) {
		k->last = now - k->rate_at < 2000 ? k->rate : (struct gw_amount){ { 0 } };
		k->rate = (struct gw_amount){ { 0 } };
		k->rate_at = now;
	}
	for (unsigned u = 0; u < GW_UNITS; u++)
		k->rate.v[u] += need->v[u];
}

static uint64_t
gw_lately(const struct gw_key *k, enum gw_unit u)
{
	return k->rate.v[u] > k->last.v[u] ? k->rate.v[u] : k->last.v[u];
}

bool
gw_grant_take(struct gw_req *req, const struct gw_amount *need, uint64_t now)
{
	struct gw_key *k = req->key;
	struct gw_amount rest = *need;
	struct tf_node *e, *tmp;
	unsigned open;

	if (!gw_grants_have(k, now, need, &open))
		return false;
	for (unsigned u = 0; u < GW_UNITS; u++)
		if (open & 1u << u)
			rest.v[u] = 0;
	TF_LIST_EACH(&k->grants, e, tmp) {
		struct gw_grant *g = TF_CONTAINER(e, struct gw_grant, node);

		if (gw_amount_none(&rest))
			break;
		if (gw_grant_serves(k, g, now))
			gw_grant_take_from(req, g, &rest);
	}
	gw_rate_count(k, now, need);
	return true;
}

/* ---- asking ------------------------------------------------------------------------------------ */

/* What all who wait would take, beside what the key used lately. */
static struct gw_amount
gw_grant_wanted(const struct gw_key *k, const struct gw_amount *least)
{
	struct gw_amount want = *least;
	struct tf_node *e, *tmp;
	unsigned n = 0;

	want.v[GW_U_REQUESTS] += 2 * gw_lately(k, GW_U_REQUESTS);
	want.v[GW_U_TOKENS] += 2 * gw_lately(k, GW_U_TOKENS);
	want.v[GW_U_MONEY] += 2 * gw_lately(k, GW_U_MONEY);
	want.v[GW_U_SLOTS] += gw_lately(k, GW_U_REQUESTS) / GW_SLOTS_PART;
	TF_LIST_EACH(&k->admitting, e, tmp) {
		const struct gw_req *req = TF_CONTAINER(e, struct gw_req, wait);

		if (n++ == GW_WANTED_MAX)
			break;
		for (unsigned u = 0; u < GW_UNITS; u++)
			want.v[u] += req->need.v[u];
	}
	return want;
}

void
gw_grant_ask(struct gw_thread *t, struct gw_key *k, const struct gw_amount *least)
{
	struct wire_peer *p = gw_billing(t);
	struct wire_grant_ask m = {
		.key = tf_span(k->id, sizeof k->id), .requests = least->v[GW_U_REQUESTS], .tokens = least->v[GW_U_TOKENS],
		.money = least->v[GW_U_MONEY], .images = least->v[GW_U_IMAGES], .audio_ms = least->v[GW_U_AUDIO_MS],
		.slots = least->v[GW_U_SLOTS],
	};
	struct gw_amount want;

	if (k->granting || p == NULL)
		return;
	want = gw_grant_wanted(k, least);
	m.want_requests = want.v[GW_U_REQUESTS];
	m.want_tokens = want.v[GW_U_TOKENS];
	m.want_money = want.v[GW_U_MONEY];
	m.want_slots = want.v[GW_U_SLOTS];
	k->grant_id = tf_id_new();
	if (tf_map_put(&t->asks, tf_id_span(&k->grant_id), k) != 0)
		return;
	if (wire_send_grant_ask(p, &k->grant_id, 0, &m, (struct tf_span){ 0 }) != 0) {
		tf_map_del(&t->asks, tf_id_span(&k->grant_id));
		return;
	}
	k->granting = true;
	k->grant_least = *least;
	gw_key_busy(t, k);
	k->grant_asked = tf_mono_ms();
}

void
gw_grant_ask_forget(struct gw_thread *t, struct gw_key *k)
{
	if (!k->granting)
		return;
	tf_map_del(&t->asks, tf_id_span(&k->grant_id));
	k->granting = false;
}

void
gw_grant_ahead(struct gw_thread *t, struct gw_key *k, uint64_t now)
{
	static const struct gw_amount any = { { [GW_U_REQUESTS] = 1, [GW_U_TOKENS] = 1 } };
	struct gw_amount half = { { 0 } };
	const struct gw_grant *newest;
	unsigned open;

	if (k->granting || k->grants.n == 0 || now < k->grant_again || now < k->ahead_again)
		return;
	newest = TF_CONTAINER(k->grants.head.prev, struct gw_grant, node);
	half.v[GW_U_REQUESTS] = gw_lately(k, GW_U_REQUESTS) / 2 + 1;
	half.v[GW_U_TOKENS] = gw_lately(k, GW_U_TOKENS) / 2 + 1;
	half.v[GW_U_MONEY] = gw_lately(k, GW_U_MONEY) / 2;
	if (newest->expires >= now + GW_GRANT_AHEAD_MS && gw_grants_have(k, now, &half, &open))
		return;
	k->ahead_again = now + GW_AHEAD_PAUSE_MS;
	gw_grant_ask(t, k, &any);
}

/* ---- what billingd says ------------------------------------------------------------------------ */

struct gw_key *
gw_grant_answered(struct gw_thread *t, const struct wire_frame *f)
{
	struct gw_key *k = tf_map_get(&t->asks, tf_id_span(&f->id));

	if (k == NULL || !k->granting || !tf_id_eq(k->grant_id, f->id))
		return NULL;
	gw_grant_ask_forget(t, k);
	return k;
}

static void
gw_space_told(struct gw_key *k, const struct wire_grant *m)
{
	struct gw_space *s = k->space;

	k->rpm = m->limit; /* a plan that was reloaded is felt at once */
	gw_room_told(&s->minute, &GW_TOLD_MINUTE(m));
	if (wire_has(m, GRANT, key_remaining))
		gw_room_told(&k->minute, &GW_TOLD_KEY(m));
	s->budgeted = wire_has(m, GRANT, budget);
	if (s->budgeted)
		gw_room_told(&s->budget, &GW_TOLD_BUDGET(m));
}

void
gw_grant_told(struct gw_key *k, const struct wire_grant_refuse *m)
{
	if (k->space == NULL)
		return;
	/* a refusal that knows no account says nothing of it */
	if (wire_has(m, GRANT_REFUSE, window))
		gw_room_told(&k->space->minute, &GW_TOLD_MINUTE(m));
	if (wire_has(m, GRANT_REFUSE, key_remaining))
		gw_room_told(&k->minute, &GW_TOLD_KEY(m));
	if (wire_has(m, GRANT_REFUSE, budget)) {
		k->space->budgeted = true;
		gw_room_told(&k->space->budget, &GW_TOLD_BUDGET(m));
	}
}

static void
gw_grant_fill(struct gw_grant *g, const struct wire_grant *m)
{
	g->number = m->grant;
	g->bounded = GW_ALWAYS_BOUNDED;
	if (wire_has(m, GRANT, money))
		g->bounded |= 1u << GW_U_MONEY;
	if (wire_has(m, GRANT, images))
		g->bounded |= 1u << GW_U_IMAGES;
	if (wire_has(m, GRANT, audio_ms))
		g->bounded |= 1u << GW_U_AUDIO_MS;
	if (wire_has(m, GRANT, slots))
		g->bounded |= 1u << GW_U_SLOTS;
	g->left = (struct gw_amount){ { m->requests, m->tokens, m->money, m->images, m->audio_ms, m->slots } };
	g->windows = (struct gw_windows){ { m->window, m->window_key, m->window_budget, m->window_month } };
}

void
gw_grant_come(struct gw_thread *t, const struct wire_frame *f, const struct wire_grant *m)
{
	struct gw_key *k = gw_grant_answered(t, f);
	struct gw_grant *g = k != NULL && k->space != NULL ? calloc(1, sizeof *g) : NULL;
	struct gw_grant unused;

	if (g == NULL) {
		/* nobody waits for it any more */
		gw_grant_fill(&unused, m);
		gw_grant_give_back(t, m->key, m->grant, &unused.left);
		return;
	}
	gw_grant_fill(g, m);
	/* the life counts from the asking, so a slow answer can only shorten it */
	g->expires = k->grant_asked + m->ttl_ms;
	tf_list_append(&k->grants, &g->node);
	gw_key_busy(t, k);
	k->windows = g->windows;
	k->granted_by = gw_billing(t)->boot;
	k->short_err = 0;
	gw_space_told(k, m);
	for (unsigned w = 0; w < GW_ROOMS; w++)
		gw_room_hold(gw_room_of(k, w), g->windows.v[w], m->requests, m->tokens);
	gw_admit_pump(t, k);
}
