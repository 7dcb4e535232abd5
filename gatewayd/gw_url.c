/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The URL under which clients reach this system, for links in answers. What a request says of it is
 * the client's own claim: it ends up in that client's answer alone, and only in a shape that can be
 * nothing but a host.
 */
#include "config.h"

#include "gatewayd/gw.h"

#define GW_HOST_MAX 255 /* bytes of HOST[:PORT] */

static bool
gw_host_char(char c, bool v6)
{
	char low = (char)(c | 0x20);

	if ((c >= '0' && c <= '9') || (low >= 'a' && low <= (v6 ? 'f' : 'z')))
		return true;
	return c == '.' || (v6 ? c == ':' : c == '-' || c == '_');
}

/* NAME, ADDRESS or [v6], each with or without :PORT. */
static bool
gw_host_ok(struct tf_span s)
{
	bool v6 = s.n > 0 && s.p[0] == '[';
	size_t i = v6 ? 1 : 0, from = i;
	uint64_t port;

	if (s.n > GW_HOST_MAX)
		return false;
	while (i < s.n && gw_host_char(s.p[i], v6))
		i++;
	if (i == from || (v6 && (i == s.n || s.p[i++] != ']')))
		return false;
	if (i == s.n)
		return true;
	return s.p[i] == ':' && tf_span_u64(tf_span(s.p + i + 1, s.n - i - 1), 65535, &port) == 0 && port > 0;
}

/* The first of a list is what the client said to the outermost proxy. */
static struct tf_span
gw_first(struct tf_span list)
{
	const char *comma = list.n > 0 ? memchr(list.p, ',', list.n) : NULL;

	if (comma != NULL)
		list.n = (size_t)(comma - list.p);
	while (list.n > 0 && list.p[list.n - 1] == ' ')
		list.n--;
	return list;
}

int
gw_url_base(const char *public_url, const struct gw_url_facts *f, struct tf_buf *out)
{
	struct tf_span host = f->host, proto = gw_first(f->forwarded_proto), fwd = gw_first(f->forwarded_host);
	bool tls = f->tls;
	size_t n;

	if (public_url != NULL) {
		n = strlen(public_url);
		while (n > 0 && public_url[n - 1] == '/')
			n--;
		return tf_buf_append(out, public_url, n);
	}
	if (tf_span_caseeq(proto, "https") || tf_span_caseeq(proto, "http"))
		tls = proto.n == 5;
	if (gw_host_ok(fwd))
		host = fwd;
	if (!gw_host_ok(host))
		return TF_E_NOENT;
	return tf_buf_printf(out, "%s://" TF_SPAN_FMT, tls ? "https" : "http", TF_SPAN_ARG(host));
}

int
gw_base_url(const struct gw_req *req, struct tf_buf *out)
{
	const struct conf_gatewayd *c = &req->conf->c->gatewayd;
	struct gw_url_facts f = { 0 };

	if (req->http == NULL)
		return c->public_url != NULL ? gw_url_base(c->public_url, &f, out) : TF_E_NOENT;
	f.tls = http_conn_is_tls(http_req_conn(req->http));
	f.host = http_req_get(req->http, HTTP_H_HOST);
	if (c->trust_forwarded) {
		f.forwarded_proto = http_head_find(http_req_head(req->http), "x-forwarded-proto");
		f.forwarded_host = http_head_find(http_req_head(req->http), "x-forwarded-host");
	}
	return gw_url_base(c->public_url, &f, out);
}
