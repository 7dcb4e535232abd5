/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of the trail that no change of the database brings with it: our own commands that change nothing there, and what
 * operators did to other daemons, which tell of it.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "billingd/control.h"

struct recording {
	struct bl *bl;
	struct ctl_req *req;
	bool told; /* by another daemon, whose request this is */
	struct bl_audit_row row;
};

static void
recording_free(struct recording *x)
{
	tf_buf_free(&x->row.detail);
	free(x);
}

static void
end(struct ctl_req *req, bool told, const char *failed)
{
	if (!told)
		ctl_recorded(req, failed);
	else if (failed != NULL)
		ctl_fail(req, CTL_FAILED, "%s", failed);
	else
		ctl_end(req);
}

static void
stored(struct db_batch *b, void *arg)
{
	struct recording *x = arg;
	struct bl *bl = x->bl;

	end(x->req, x->told, b->rc == 0 ? NULL : "the audit log cannot be written at the moment; see the log of billingd");
	bl->changes--;
	db_batch_free(&b);
	recording_free(x);
	bl_check_drained(bl);
}

/* Takes x. */
static void
store(struct recording *x)
{
	struct db_batch *b = db_batch_new(stored, x);

	if (b == NULL || db_batch_add(b, BL_OP_AUDIT, &x->row) != 0) {
		db_batch_free(&b);
		end(x->req, x->told, "without memory, the audit log was not told of this");
		recording_free(x);
		return;
	}
	x->bl->changes++;
	db_store_submit(x->bl->store, b);
}

void
bl_record_act(void *arg, struct ctl_req *req, const struct ctl_act *a)
{
	struct recording *x = calloc(1, sizeof *x);

	if (x == NULL || tf_buf_addspan(&x->row.detail, a->detail) != 0) {
		free(x);
		ctl_recorded(req, "without memory, the audit log was not told of this");
		return;
	}
	x->bl = bl_of_command(arg);
	x->req = req;
	x->row.at_ms = a->at_ms;
	x->row.has_act = true;
	x->row.act = a->id;
	snprintf(x->row.actor, sizeof x->row.actor, "%s", a->actor);
	snprintf(x->row.action, sizeof x->row.action, "%s", a->action);
	snprintf(x->row.subject, sizeof x->row.subject, "%s", a->subject);
	store(x);
}

/* ---- what other daemons tell ---------------------------------------------------------------- */

/* Printable, and short enough: into out, which has size bytes. */
static bool
take_text(char *out, size_t size, struct tf_span s)
{
	if (s.n >= size)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return false;
	if (s.n > 0)
		memcpy(out, s.p, s.n);
	out[s.n] = '\0';
	return true;
}

/* Its members, and by whose word we have it. */
static bool
take_detail(struct tf_buf *out, struct tf_span detail, const struct ctl_req *req)
{
	char teller[CTL_ACTOR_MAX + 1];
	struct tf_span key, value;
	struct js_iter it;
	struct js_w w;

	if (js_valid(detail) != 0 || js_type(detail) != JS_OBJECT)
		return false;
	ctl_actor(req, teller);
	js_w_init(&w, out);
	js_w_object(&w);
	js_iter_init(&it, detail);
	while (js_iter_next(&it, &key, &value)) {
		if (js_str_eq(key, "told_by"))
			continue;
		js_w_keyn(&w, tf_span(key.p + 1, key.n - 2));
		js_w_raw(&w, value);
	}
	js_w_kcstr(&w, "told_by", teller);
	js_w_object_end(&w);
	return js_w_done(&w) == 0;
}

void
bl_cmd_audit_record(void *arg, struct ctl_req *req)
{
	struct recording *x = calloc(1, sizeof *x);
	int64_t now = bl_wall_ms();

	if (x == NULL) {
		ctl_fail(req, CTL_FAILED, "out of memory");
		return;
	}
	x->bl = bl_of_command(arg);
	x->req = req;
	x->told = true;
	x->row.has_act = true;
	x->row.at_ms = ctl_int(req, "at_ms", now);
	if (x->row.at_ms < 0 || x->row.at_ms > now)
		x->row.at_ms = now; /* nothing is done later than it is told */
	if (tf_id_parse(ctl_str(req, "id"), &x->row.act) != 0 || ctl_str(req, "actor").n == 0 || ctl_str(req, "action").n == 0 ||
	    !take_text(x->row.actor, sizeof x->row.actor, ctl_str(req, "actor")) ||
	    !take_text(x->row.action, sizeof x->row.action, ctl_str(req, "action")) ||
	    !take_text(x->row.subject, sizeof x->row.subject, ctl_str(req, "subject")) ||
	    !take_detail(&x->row.detail, ctl_str(req, "detail"), req)) {
		ctl_fail(req, CTL_USAGE, "that is no act: id, short printable texts, and an object as detail are needed");
		recording_free(x);
		return;
	}
	store(x);
}
