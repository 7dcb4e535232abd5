/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arguments that set limits: numbers and money of which "none" takes the limit away, and all that bounds a
 * key. What cannot be is refused here with the reason, before anything is stored.
 */
#include "config.h"

#include "billingd/control.h"

#define LIST_MAX 256
#define NUMBER_MOST INT64_C(1000000000000000)

bool
bl_take_number(struct ctl_req *req, const char *name, int64_t least, bool *given, struct bl_opt *out)
{
	struct tf_span text = ctl_str(req, name);
	uint64_t v;

	*given = ctl_has(req, name);
	*out = (struct bl_opt){ false, 0 };
	if (!*given || tf_span_is(text, "none"))
		return true;
	if (tf_span_u64(text, NUMBER_MOST, &v) != 0 || (int64_t)v < least) {
		ctl_fail(req, CTL_USAGE, "%s is a whole number from %lld to %lld, or none", name, (long long)least,
		    (long long)NUMBER_MOST);
		return false;
	}
	*out = (struct bl_opt){ true, (int64_t)v };
	return true;
}

bool
bl_take_money(struct ctl_req *req, const char *name, bool *given, struct bl_opt *out)
{
	struct tf_span text = ctl_str(req, name);

	*given = ctl_has(req, name);
	*out = (struct bl_opt){ false, 0 };
	if (!*given || tf_span_is(text, "none"))
		return true;
	if (tf_money_parse(text.p, &out->v) != 0) {
		ctl_fail(req, CTL_USAGE, "%s is an amount like 25 or 0.125 with at most nine decimals, or none", name);
		return false;
	}
	out->is = true;
	return true;
}

/* ---- lists -------------------------------------------------------------------------------- */

/* Adds one entry of a list; false: the request has ended. */
typedef bool take_entry(struct bl *bl, struct ctl_req *req, struct tf_span text, struct bl_texts *out);

static bool
add(struct ctl_req *req, struct bl_texts *out, const char *text)
{
	for (size_t i = 0; i < out->n; i++)
		if (strcmp(out->v[i], text) == 0)
			return true;
	if (bl_texts_add(out, tf_cspan(text)) == 0)
		return true;
	ctl_fail(req, CTL_FAILED, "out of memory");
	return false;
}

/* A key opens both APIs, so a model may be named as either does. */
const struct conf_model *
bl_find_model(const struct bl *bl, struct tf_span text)
{
	const struct conf_model *model = conf_find_model(bl->conf, CONF_SIDE_OPENAI, text);

	return model != NULL ? model : conf_find_model(bl->conf, CONF_SIDE_ANTHROPIC, text);
}

static bool
take_model(struct bl *bl, struct ctl_req *req, struct tf_span text, struct bl_texts *out)
{
	const struct conf_model *model = bl_find_model(bl, text);

	if (model != NULL)
		return add(req, out, model->name);
	ctl_fail(req, CTL_NOT_FOUND, "the catalogue has no model " TF_SPAN_FMT "; model list shows them", TF_SPAN_ARG(text));
	return false;
}

static bool
take_endpoint(struct bl *bl, struct ctl_req *req, struct tf_span text, struct bl_texts *out)
{
	enum tf_operation op = tf_operation_by_name(text);
	struct tf_buf all = { 0 };

	(void)bl;
	if (op != TF_OP_COUNT)
		return add(req, out, tf_operation_name(op));
	for (int i = 0; i < TF_OP_COUNT; i++)
		tf_buf_printf(&all, "%s%s", i > 0 ? ", " : "", tf_operation_name((enum tf_operation)i));
	ctl_fail(req, CTL_NOT_FOUND, "there is no endpoint " TF_SPAN_FMT "; they are " TF_SPAN_FMT, TF_SPAN_ARG(text),
	    TF_SPAN_ARG(tf_buf_span(&all)));
	tf_buf_free(&all);
	return false;
}

/* An address with a bit set behind the prefix was meant to be another prefix, or another address. */
static bool
take_network(struct bl *bl, struct ctl_req *req, struct tf_span text, struct bl_texts *out)
{
	const char *slash = text.n > 0 ? memchr(text.p, '/', text.n) : NULL;
	struct tf_network network, address;
	char shown[TF_NETWORK_TEXT];

	(void)bl;
	if (tf_network_parse(text, &network) != 0) {
		ctl_fail(req, CTL_USAGE, TF_SPAN_FMT " is no network like 192.0.2.0/24, 2001:db8::/32 or a single address",
		    TF_SPAN_ARG(text));
		return false;
	}
	tf_network_text(&network, shown);
	if (slash != NULL && tf_network_parse(tf_span(text.p, (size_t)(slash - text.p)), &address) == 0 &&
	    memcmp(address.address, network.address, sizeof address.address) != 0) {
		ctl_fail(req, CTL_USAGE, TF_SPAN_FMT " has bits set behind its prefix; the network is %s", TF_SPAN_ARG(text),
		    shown);
		return false;
	}
	return add(req, out, shown);
}

/* *given: the list was there; "none" alone is the empty one. */
static bool
take_list(struct bl *bl, struct ctl_req *req, const char *name, take_entry *take, struct bl_texts *out)
{
	size_t n = ctl_list_n(req, name);

	if (n == 0 || n > LIST_MAX) {
		ctl_fail(req, CTL_USAGE, "%s: 1 to %d of them, or none", name, LIST_MAX);
		return false;
	}
	if (n == 1 && tf_span_is(ctl_list(req, name, 0), "none"))
		return true;
	for (size_t i = 0; i < n; i++)
		if (!take(bl, req, ctl_list(req, name, i), out))
			return false;
	return true;
}

static bool
take_lists(struct bl *bl, struct ctl_req *req, struct bl_key_set *set)
{
	const struct {
		const char *name;
		unsigned part;
		take_entry *take;
		struct bl_texts *out;
	} lists[] = {
		{ "model", BL_KEY_MODELS, take_model, &set->row.models },
		{ "endpoint", BL_KEY_ENDPOINTS, take_endpoint, &set->row.endpoints },
		{ "network", BL_KEY_NETWORKS, take_network, &set->row.networks },
	};

	for (size_t i = 0; i < TF_LEN(lists); i++) {
		if (!ctl_has(req, lists[i].name))
			continue;
		if (!take_list(bl, req, lists[i].name, lists[i].take, lists[i].out))
			return false;
		set->parts |= lists[i].part;
	}
	return true;
}

static bool
take_scopes(struct ctl_req *req, struct bl_key_set *set)
{
	static const enum wire_scope all[] = { WIRE_SCOPE_INFERENCE, WIRE_SCOPE_USAGE, WIRE_SCOPE_ADMIN };
	size_t n = ctl_list_n(req, "scope");

	if (!ctl_has(req, "scope"))
		return true;
	for (size_t i = 0; i < n; i++) {
		size_t at = 0;

		while (at < TF_LEN(all) && !tf_span_is(ctl_list(req, "scope", i), wire_scope_text(all[at])))
			at++;
		if (at == TF_LEN(all)) {
			n = 0;
			break;
		}
		set->row.scopes |= all[at];
	}
	if (n == 0) {
		ctl_fail(req, CTL_USAGE, "scopes are inference, usage:read and admin; a key has at least one");
		return false;
	}
	set->parts |= BL_KEY_SCOPES;
	return true;
}

/* ---- all of it ---------------------------------------------------------------------------- */

static bool
take_expiry(struct ctl_req *req, struct bl_key_set *set)
{
	int64_t expires = ctl_int(req, "expires", 0);

	if (!ctl_has(req, "expires"))
		return true;
	if (expires != 0 && (expires <= bl_wall_ms() / 1000 || expires > INT64_C(253402300800))) {
		ctl_fail(req, CTL_USAGE, "expires lies in the past, or too far ahead");
		return false;
	}
	set->row.expires_ms = expires != 0 ? expires * 1000 : BL_NEVER_MS;
	set->parts |= BL_KEY_EXPIRES;
	return true;
}

bool
bl_take_key_set(struct bl *bl, struct ctl_req *req, struct bl_key_set *set)
{
	const struct {
		const char *name;
		unsigned part;
		int64_t *out;
	} numbers[] = {
		{ "rpm", BL_KEY_RPM, &set->row.rpm },
		{ "tpm", BL_KEY_TPM, &set->row.tpm },
		{ "concurrency", BL_KEY_CONCURRENCY, &set->row.concurrency },
	};
	struct bl_opt v;
	bool given;

	for (size_t i = 0; i < TF_LEN(numbers); i++) {
		if (!bl_take_number(req, numbers[i].name, 1, &given, &v))
			return false;
		*numbers[i].out = v.is ? v.v : 0;
		set->parts |= given ? numbers[i].part : 0;
	}
	if (!bl_take_money(req, "budget", &given, &set->row.budget))
		return false;
	set->parts |= given ? BL_KEY_BUDGET : 0;
	return take_expiry(req, set) && take_scopes(req, set) && take_lists(bl, req, set);
}
