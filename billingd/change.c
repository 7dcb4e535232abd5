/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The path that every change takes: its operations, its row in the trail and its number are one
 * transaction; when that is durable its number is on the board and it is in memory, then every gateway is
 * told, then who asked for it hears so. A gateway that has not heard yet sees the number with the next
 * request of a key, and asks about it before anything is served: so a change acts at the next request.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "billingd/billingd.h"

static void
change_free(struct bl_change *c)
{
	db_batch_free(&c->batch);
	bl_key_row_fini(&c->key);
	bl_key_row_fini(&c->set.row);
	tf_buf_free(&c->audit.detail);
	tf_wipe(c->text, sizeof c->text);
	bl_billing_fini(&c->billing);
	free(c->keys);
	free(c->more);
	free(c);
}

static void
change_stored(struct db_batch *b, void *arg)
{
	struct bl_change *c = arg;
	struct bl *bl = c->bl;

	c->rc = b->rc;
	bl->changes--;
	if (c->rc == 0 && !c->quiet) {
		bl->change = c->number;
		wire_board_change(bl->board, bl->change);
		if (bl->hub != NULL)
			wire_hub_key_change(bl->hub, bl->change);
	}
	if (c->rc == 0 && c->apply != NULL)
		c->rc = c->apply(c);
	c->done(c, c->arg);
	change_free(c);
	bl_check_drained(bl);
}

struct bl_change *
bl_change_new(struct bl *bl, int (*apply)(struct bl_change *c), const struct bl_order *o)
{
	struct bl_change *c = calloc(1, sizeof *c);

	if (c == NULL)
		return NULL;
	c->batch = db_batch_new(change_stored, c);
	if (c->batch == NULL) {
		free(c);
		return NULL;
	}
	c->bl = bl;
	c->apply = apply;
	c->done = o->done;
	c->arg = o->arg;
	c->audit.at_ms = bl_wall_ms();
	snprintf(c->audit.actor, sizeof c->audit.actor, "%s", o->actor);
	snprintf(c->audit.action, sizeof c->audit.action, "%s", o->action);
	js_w_init(&c->detail, &c->audit.detail);
	js_w_object(&c->detail);
	return c;
}

void
bl_change_about(struct bl_change *c, const struct tf_id *workspace, const char *subject)
{
	c->audit.has_workspace = workspace != NULL;
	if (workspace != NULL)
		c->audit.workspace = *workspace;
	snprintf(c->audit.subject, sizeof c->audit.subject, "%s", subject);
}

void
bl_change_about_id(struct bl_change *c, const struct tf_id *workspace, const struct tf_id *subject)
{
	char text[TF_ID_TEXT + 1];

	tf_id_text(*subject, text);
	bl_change_about(c, workspace, text);
}

int
bl_change_go(struct bl_change *c, int rc)
{
	js_w_object_end(&c->detail);
	if (rc == 0)
		rc = js_w_done(&c->detail);
	if (rc == 0 && tf_span_is(tf_buf_span(&c->audit.detail), "{}"))
		tf_buf_reset(&c->audit.detail);
	if (rc == 0)
		rc = db_batch_add(c->batch, BL_OP_AUDIT, &c->audit);
	for (size_t i = 0; i < c->n_more && rc == 0; i++) {
		c->more[i].detail = (struct tf_buf){ 0 }; /* was a copy of the last one's */
		rc = db_batch_add(c->batch, BL_OP_AUDIT, &c->more[i]);
	}
	if (rc == 0 && !c->quiet)
		rc = db_batch_add(c->batch, BL_OP_CHANGE, &c->number);
	if (rc != 0) {
		change_free(c);
		return rc;
	}
	c->bl->changes++;
	db_store_submit(c->bl->store, c->batch);
	return 0;
}

void
bl_admin_tell(struct bl *bl, const struct tf_id *key, const struct tf_id *workspace)
{
	struct wire_key_change m = { .change = bl->change };
	struct tf_node *e, *tmp;

	if (key != NULL)
		m.key = tf_id_span(key);
	if (workspace != NULL)
		m.workspace = tf_id_span(workspace);
	TF_LIST_EACH(&bl->gateways, e, tmp) {
		struct bl_gateway *g = TF_CONTAINER(e, struct bl_gateway, node);

		if (g->peer != NULL)
			(void)wire_send_key_change(g->peer, NULL, 0, &m, (struct tf_span){ 0 });
	}
}

int
bl_name_copy(char *out, size_t max, struct tf_span s)
{
	if (s.n == 0 || s.n > max || s.p[0] == ' ' || s.p[s.n - 1] == ' ')
		return TF_E_INVAL;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < 0x20 || c == 0x7f || c == '"' || c == '\\')
			return TF_E_INVAL;
	}
	memcpy(out, s.p, s.n);
	out[s.n] = '\0';
	return 0;
}

/* ---- members of rows and of the trail ------------------------------------------------------- */

void
bl_write_money(struct js_w *w, const char *name, struct bl_opt v)
{
	js_w_key(w, name);
	if (v.is)
		js_w_nano(w, v.v);
	else
		js_w_null(w);
}

void
bl_write_opt(struct js_w *w, const char *name, struct bl_opt v)
{
	if (v.is)
		js_w_ki64(w, name, v.v);
	else
		js_w_knull(w, name);
}

void
bl_write_scopes(struct js_w *w, const char *name, unsigned scopes)
{
	static const enum wire_scope all[] = { WIRE_SCOPE_INFERENCE, WIRE_SCOPE_USAGE, WIRE_SCOPE_ADMIN };

	js_w_key(w, name);
	js_w_array(w);
	for (size_t i = 0; i < TF_LEN(all); i++)
		if (scopes & all[i])
			js_w_cstr(w, wire_scope_text(all[i]));
	js_w_array_end(w);
}
