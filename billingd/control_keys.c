/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's commands about keys. */
#include "config.h"

#include <stdlib.h>

#include "billingd/control.h"

#define GRACE_MAX_S (366 * 86400)

static void
write_limit(struct js_w *w, const char *name, int64_t v)
{
	bl_write_opt(w, name, (struct bl_opt){ v != 0, v });
}

static void
write_key(struct js_w *w, const struct bl_key *k)
{
	const struct bl_secret *s = bl_key_current(k), *before = NULL;
	int64_t now = bl_wall_ms();

	if (k->secrets.n > 1)
		before = TF_CONTAINER(tf_list_first(&k->secrets), struct bl_secret, node);
	bl_write_id(w, "id", &k->row.id);
	js_w_kcstr(w, "name", k->row.name);
	js_w_kcstr(w, "workspace", k->workspace->row.name);
	js_w_kcstr(w, "prefix", s != NULL ? s->row.prefix : NULL);
	js_w_kcstr(w, "last4", s != NULL ? s->row.last4 : NULL);
	js_w_kcstr(w, "form", k->row.form);
	js_w_kcstr(w, "env", strcmp(k->row.form, "tf") == 0 ? k->row.env : NULL);
	js_w_kcstr(w, "status", wire_key_status_text(bl_key_status(k, now)));
	bl_write_time(w, "created", k->row.created_ms);
	bl_write_time(w, "expires", k->row.expires_ms);
	bl_write_time(w, "rotated", s != NULL && s->row.generation > 1 ? s->row.created_ms : 0);
	bl_write_time(w, "grace_until", before != NULL && before->row.until_ms > now ? before->row.until_ms : 0);
	bl_write_texts(w, "models", &k->row.models);
	bl_write_texts(w, "endpoints", &k->row.endpoints);
	bl_write_texts(w, "networks", &k->row.networks);
	bl_write_scopes(w, "scopes", k->row.scopes);
	write_limit(w, "rpm", k->row.rpm);
	write_limit(w, "tpm", k->row.tpm);
	write_limit(w, "concurrency", k->row.concurrency);
	bl_write_money(w, "budget", k->row.budget);
	bl_write_time(w, "last_used", k->row.last_used_ms);
}

static void
key_row(struct ctl_req *req, const struct bl_key *k)
{
	write_key(ctl_row(req), k);
	ctl_row_end(req);
}

/* The only place that shows a key's text. */
static void
key_minted(const struct bl_change *c, void *arg)
{
	struct ctl_req *req = arg;
	struct js_w *w;

	if (bl_change_failed(req, c->rc, "the key was changed meanwhile", ""))
		return;
	w = ctl_row(req);
	js_w_kcstr(w, "key", c->text);
	write_key(w, bl_index_key(&c->bl->index, tf_id_span(&c->secret.key)));
	ctl_row_end(req);
	ctl_end(req);
}

void
bl_cmd_key_mint(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_order o = bl_order_of(req, key_minted);
	struct bl_workspace *w = bl_take_workspace(bl, req);
	struct bl_key_set limits = { 0 };
	struct bl_mint m = { .workspace = w, .name = TF_SPAN("key"), .form = TF_SPAN("tf"), .env = TF_SPAN("prod"),
		.limits = &limits };

	if (w == NULL)
		return; /* and the request has ended */
	if (ctl_has(req, "name"))
		m.name = ctl_str(req, "name");
	if (ctl_has(req, "form"))
		m.form = ctl_str(req, "form");
	if (ctl_has(req, "env"))
		m.env = ctl_str(req, "env");
	if (!(tf_span_is(m.form, "tf") || tf_span_is(m.form, "sk-oais")) ||
	    !(tf_span_is(m.env, "prod") || tf_span_is(m.env, "stag") || tf_span_is(m.env, "dev")))
		ctl_fail(req, CTL_USAGE, "form is tf or sk-oais, env is prod, stag or dev");
	else if (bl_take_key_set(bl, req, &limits))
		(void)bl_change_failed(req, bl_admin_mint(bl, &m, &o), "", "");
	bl_key_row_fini(&limits.row);
}

static void
key_imported(const struct bl_change *c, void *arg)
{
	struct ctl_req *req = arg;

	if (bl_change_failed(req, c->rc, "a key with that text is here already", ""))
		return;
	key_row(req, bl_index_key(&c->bl->index, tf_id_span(&c->secret.key)));
	ctl_end(req);
}

void
bl_cmd_key_import(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_order o = bl_order_of(req, key_imported);
	struct bl_workspace *w = bl_take_workspace(bl, req);
	struct bl_key_set limits = { 0 };
	struct bl_mint m = { .workspace = w, .name = TF_SPAN("key"), .form = TF_SPAN(BL_FORM_IMPORTED),
		.env = TF_SPAN(""), .limits = &limits };
	int rc;

	if (w == NULL)
		return; /* and the request has ended */
	m.text = ctl_str(req, "key_file");
	if (ctl_has(req, "name"))
		m.name = ctl_str(req, "name");
	if (bl_take_key_set(bl, req, &limits)) {
		rc = m.text.n > 0 ? bl_admin_mint(bl, &m, &o) : TF_E_RANGE;
		if (rc == TF_E_RANGE)
			ctl_fail(req, CTL_USAGE, "a key has %d to %d printable characters, and its checksum if it has our shape",
			    TF_APIKEY_MIN, TF_APIKEY_MAX);
		else
			(void)bl_change_failed(req, rc, "", "");
	}
	bl_key_row_fini(&limits.row);
}

static void
key_limited(const struct bl_change *c, void *arg)
{
	struct ctl_req *req = arg;

	if (bl_change_failed(req, c->rc, "", "the key is revoked"))
		return;
	key_row(req, bl_index_key(&c->bl->index, tf_id_span(&c->set.row.id)));
	ctl_end(req);
}

void
bl_cmd_key_limit(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_order o = bl_order_of(req, key_limited);
	struct bl_key *k = bl_take_key(bl, req);
	struct bl_key_set set = { 0 };

	if (k == NULL || !bl_take_key_set(bl, req, &set)) {
		bl_key_row_fini(&set.row);
		return;
	}
	if (set.parts == 0)
		ctl_fail(req, CTL_USAGE, "nothing to change; see keyctl key limit --help");
	else
		(void)bl_change_failed(req, bl_admin_key_set(bl, k, &set, &o), "", "the key is revoked");
}

void
bl_cmd_key_rotate(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_order o = bl_order_of(req, key_minted);
	struct bl_key *k = bl_take_key(bl, req);
	int64_t grace;

	if (k == NULL)
		return;
	grace = ctl_int(req, "grace", 0);
	if (grace < 0 || grace > GRACE_MAX_S)
		ctl_fail(req, CTL_USAGE, "grace is at most a year");
	else
		(void)bl_change_failed(req, bl_admin_rotate(bl, k, grace * 1000, &o), "", "the key is revoked");
}

/* ---- revoking ----------------------------------------------------------------------------- */

static void
key_revoked(const struct bl_change *c, void *arg)
{
	struct ctl_req *req = arg;

	if (bl_change_failed(req, c->rc, "", ""))
		return;
	for (size_t i = 0; i < c->n_keys; i++)
		key_row(req, bl_index_key(&c->bl->index, tf_id_span(&c->keys[i].id)));
	ctl_end(req);
}

static void
revoke_all(struct bl *bl, struct ctl_req *req, struct bl_key *const *keys, size_t n)
{
	struct bl_order o = bl_order_of(req, key_revoked);

	(void)bl_change_failed(req, bl_admin_revoke(bl, keys, n, &o), "", "");
}

/* Does one of the key's texts begin like this, as far as that is known? Longer ones match what is shown of them. */
static bool
begins(const struct bl_key *k, struct tf_span prefix)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&k->secrets, e, tmp) {
		const char *shown = TF_CONTAINER(e, struct bl_secret, node)->row.prefix;
		size_t n = strlen(shown);

		if (memcmp(shown, prefix.p, prefix.n < n ? prefix.n : n) == 0)
			return true;
	}
	return false;
}

/* A whole text names its key, whatever others begin alike. */
static struct bl_key *
whole(const struct bl *bl, struct tf_span text)
{
	uint8_t sha[TF_SHA256], digest[BL_DIGEST];
	struct bl_secret *s;

	tf_sha256(text.p, text.n, sha);
	bl_pepper_digest(&bl->pepper, sha, digest);
	s = tf_map_get(&bl->index.digests, tf_span(digest, sizeof digest));
	tf_wipe(sha, sizeof sha);
	return s != NULL ? s->key : NULL;
}

/*
 * A key has leaked, and its beginning is all that is known. Of several the right one may be the one that is
 * left, so it is the operator who says that all of them go.
 */
static void
revoke_prefix(struct bl *bl, struct ctl_req *req)
{
	struct tf_span prefix = ctl_str(req, "prefix");
	struct bl_key **keys = NULL, *k = prefix.n > 0 ? whole(bl, prefix) : NULL;
	size_t n = 0, pos = 0;

	if (prefix.n == 0) {
		ctl_fail(req, CTL_USAGE, "an empty prefix says nothing");
		return;
	}
	if (k != NULL && k->row.revoked_ms == BL_NEVER_MS) {
		revoke_all(bl, req, &k, 1);
		return;
	}
	keys = calloc(bl->index.keys.n + 1, sizeof(struct bl_key *));
	if (keys == NULL) {
		ctl_fail(req, CTL_FAILED, "out of memory");
		return;
	}
	while (k == NULL && (k = tf_map_next(&bl->index.keys, &pos)) != NULL) {
		if (k->row.revoked_ms == BL_NEVER_MS && begins(k, prefix))
			keys[n++] = k;
		k = NULL;
	}
	if (n == 0) {
		ctl_fail(req, CTL_NOT_FOUND, "no key that works begins like that");
	} else if (n > 1 && !ctl_bool(req, "all", false)) {
		for (size_t i = 0; i < n; i++)
			key_row(req, keys[i]);
		ctl_fail(req, CTL_CONFLICT, "%zu keys begin like that, and nothing was changed; --all revokes them", n);
	} else {
		revoke_all(bl, req, keys, n);
	}
	free(keys);
}

/* Revoking what is revoked is what the operator wanted. */
void
bl_cmd_key_revoke(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_key *k;

	if (ctl_has(req, "key") == ctl_has(req, "prefix") || (ctl_has(req, "all") && !ctl_has(req, "prefix"))) {
		ctl_fail(req, CTL_USAGE, "either a key, or --prefix with or without --all");
		return;
	}
	if (ctl_has(req, "prefix")) {
		revoke_prefix(bl, req);
		return;
	}
	k = bl_take_key(bl, req);
	if (k == NULL)
		return;
	if (k->row.revoked_ms == BL_NEVER_MS) {
		revoke_all(bl, req, &k, 1);
		return;
	}
	ctl_noted(req); /* it was revoked already: no act */
	key_row(req, k);
	ctl_end(req);
}

/* ---- reading ------------------------------------------------------------------------------ */

void
bl_cmd_key_list(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_workspace *w = NULL;
	struct bl_key *k;
	size_t pos = 0;

	if (ctl_has(req, "workspace") && (w = bl_take_workspace(bl, req)) == NULL)
		return;
	while ((k = tf_map_next(&bl->index.keys, &pos)) != NULL)
		if (w == NULL || k->workspace == w)
			key_row(req, k);
	ctl_end(req);
}

void
bl_cmd_key_show(void *arg, struct ctl_req *req)
{
	struct bl_key *k = bl_take_key(bl_of_command(arg), req);

	if (k == NULL)
		return;
	key_row(req, k);
	ctl_end(req);
}

