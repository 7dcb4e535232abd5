/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a key may do beside its limits: which operations, which models, and from where. Asked as soon as
 * the key is known, before the body is read and before anything is charged. Called by gw_req.c; the
 * lists are filled by gw_key.c.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "gatewayd/gw.h"

#define GW_ALWAYS (UINT64_C(1) << TF_OP_MODELS | UINT64_C(1) << TF_OP_USAGE) /* reading is what scopes are for */

_Static_assert(TF_OP_COUNT <= 64, "operations are bits of a 64 bit number");

/* ---- learning ------------------------------------------------------------------------------- */

void
gw_may_clear(struct gw_may *may)
{
	free(may->networks);
	*may = (struct gw_may){ 0 };
}

int
gw_may_learn(struct gw_may *may, const struct wire_key *m)
{
	struct wire_rep rep = m->network;
	struct tf_span s;
	size_t n = 0;

	gw_may_clear(may);
	may->scopes = wire_has(m, KEY, scopes) ? m->scopes : WIRE_SCOPE_INFERENCE;
	while (wire_next(&rep, &s))
		n++;
	may->nowhere_else = n > 0;
	if (n > 0 && (may->networks = calloc(n, sizeof *may->networks)) == NULL)
		return TF_E_NOMEM;
	/* what cannot be read allows nothing: a key is never wider than it was made */
	rep = m->network;
	while (wire_next(&rep, &s))
		if (tf_network_parse(s, &may->networks[may->nnetworks]) == 0)
			may->nnetworks++;
	rep = m->endpoint;
	n = 0;
	while (wire_next(&rep, &s)) {
		enum tf_operation op = tf_operation_by_name(s);

		n++;
		if (op != TF_OP_COUNT)
			may->operations |= UINT64_C(1) << op;
	}
	may->operations = n == 0 ? UINT64_MAX : may->operations | GW_ALWAYS;
	return 0;
}

/* ---- where from ------------------------------------------------------------------------------ */

/* Of a list that proxies add to: the last entry is what the nearest one saw, the others are claims. */
static struct tf_span
gw_last(struct tf_span list)
{
	for (size_t i = list.n; i > 0; i--)
		if (list.p[i - 1] == ',') {
			list = tf_span(list.p + i, list.n - i);
			break;
		}
	return tf_span_trim(list);
}

int
gw_client_address(const struct gw_client_facts *f, uint8_t out[static TF_ADDRESS])
{
	if (f->forwarded_for.p != NULL)
		return tf_address_parse(gw_last(f->forwarded_for), out);
	return f->peer != NULL ? tf_address_of(f->peer, out) : TF_E_INVAL;
}

/* The last field of that name: proxies that do not join them add one of their own. */
static struct tf_span
gw_forwarded_for(const struct http_head *h)
{
	struct tf_span found = { 0 };

	for (unsigned i = 0; i < h->nfields; i++)
		if (tf_span_caseeq(http_head_str(h, h->fields[i].name), "x-forwarded-for"))
			found = http_head_str(h, h->fields[i].value);
	return found;
}

static bool
gw_may_from(const struct gw_req *req, char *why, size_t size)
{
	const struct gw_may *may = &req->key->may;
	struct gw_client_facts f = { 0 };
	struct tf_network at = { .bits = TF_ADDRESS * 8 };
	char text[TF_NETWORK_TEXT];
	socklen_t len;

	f.peer = http_conn_addr(http_req_conn(req->http), &len);
	if (req->conf->c->gatewayd.trust_forwarded)
		f.forwarded_for = gw_forwarded_for(http_req_head(req->http));
	if (gw_client_address(&f, at.address) != 0) {
		snprintf(why, size, "This key may only be used from certain networks, and the client's address is not known.");
		return false;
	}
	for (size_t i = 0; i < may->nnetworks; i++)
		if (tf_network_has(&may->networks[i], at.address))
			return true;
	tf_network_text(&at, text);
	snprintf(why, size, "This key may not be used from the address %.*s.", (int)strcspn(text, "/"), text);
	return false;
}

/* ---- what -------------------------------------------------------------------------------------- */

/* Scopes of which one is enough; 0: any key may. */
static uint64_t
gw_scopes_for(unsigned operation)
{
	switch (operation) {
	case TF_OP_MODELS:
		return 0;
	case TF_OP_USAGE: /* who may spend may see what was spent */
		return WIRE_SCOPE_USAGE | WIRE_SCOPE_INFERENCE;
	default:
		return WIRE_SCOPE_INFERENCE;
	}
}

static bool
gw_in_list(const struct conf_list *list, const char *name)
{
	for (size_t i = 0; i < list->n; i++)
		if (strcmp(list->v[i], name) == 0)
			return true;
	return list->n == 0;
}

static const struct conf_plan *
gw_plan(const struct gw_req *req)
{
	return conf_find_plan(req->conf->c, tf_cspan(req->key->plan));
}

static bool
gw_plan_calls(const struct gw_req *req)
{
	const struct conf_plan *plan = gw_plan(req);

	/* billingd refuses a plan that is not there, in a sentence of its own */
	return plan == NULL || (GW_ALWAYS & UINT64_C(1) << req->route->operation) ||
	    gw_in_list(&plan->endpoints, tf_operation_name(req->route->operation));
}

int
gw_may_call(const struct gw_req *req, char *why, size_t size)
{
	const struct gw_may *may = &req->key->may;
	uint64_t scopes = gw_scopes_for(req->route->operation);

	if (scopes != 0 && (may->scopes & scopes) == 0) {
		snprintf(why, size, "This key lacks the scope %s.",
		    scopes & WIRE_SCOPE_USAGE ? "usage:read" : "inference");
		return TF_E_FORBIDDEN;
	}
	if ((may->operations & UINT64_C(1) << req->route->operation) == 0) {
		snprintf(why, size, "This key may not call the endpoint %s.", tf_operation_name(req->route->operation));
		return TF_E_FORBIDDEN;
	}
	if (!gw_plan_calls(req)) {
		snprintf(why, size, "The plan %s does not include the endpoint %s.", req->key->plan,
		    tf_operation_name(req->route->operation));
		return TF_E_FORBIDDEN;
	}
	if (may->nowhere_else && !gw_may_from(req, why, size))
		return TF_E_FORBIDDEN;
	return 0;
}

/* A trailing * matches any rest. */
static bool
gw_plan_has(const struct conf_plan *plan, const char *id)
{
	for (size_t i = 0; i < plan->models.n; i++) {
		const char *pattern = plan->models.v[i];
		size_t n = strlen(pattern);

		if (n > 0 && pattern[n - 1] == '*' ? strncmp(pattern, id, n - 1) == 0 : strcmp(pattern, id) == 0)
			return true;
	}
	return plan->models.n == 0;
}

enum gw_denied
gw_may_model(const struct gw_req *req, const char *id)
{
	const struct gw_key *k = req->key;
	const struct conf_plan *plan = gw_plan(req);
	bool named = k->nmodels == 0;

	for (size_t i = 0; i < k->nmodels && !named; i++)
		named = strcmp(k->models[i], id) == 0;
	if (!named)
		return GW_DENIED_KEY;
	return plan == NULL || gw_plan_has(plan, id) ? GW_ALLOWED : GW_DENIED_PLAN;
}
