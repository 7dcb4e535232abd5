/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the runtime is and how it is reached: address, TLS, proxy, key. All of it from the
 * configuration; nothing a client sends gets here.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "workerd/wk.h"

#define WK_KEY_MAX 4096
#define WK_BEARER "Bearer "

int
wk_upstream_key(struct wk *wk)
{
	struct tf_buf key = { 0 };
	char why[256];
	int rc;

	if (wk->now->key_file == NULL)
		return 0;
	rc = conf_read_secret(wk->now->key_file, WK_KEY_MAX, &key, why, sizeof why);
	if (rc != 0) {
		tf_log(TF_ERROR, "upstream", NULL, "cannot read the key reason=%s", tf_log_q(tf_cspan(why)));
		return rc;
	}
	if (wk->auth.p != NULL)
		tf_wipe(wk->auth.p, wk->auth.cap);
	tf_buf_reset(&wk->auth);
	rc = tf_buf_addstr(&wk->auth, WK_BEARER);
	if (rc == 0)
		rc = tf_buf_addspan(&wk->auth, tf_buf_span(&key));
	tf_wipe(key.p, key.cap);
	tf_buf_free(&key);
	return rc;
}

/* With or without /v1, as the user of an SDK would write it. */
static char *
wk_base(const char *path)
{
	size_t n = strlen(path);
	struct tf_buf b = { 0 };
	const char *s = NULL;
	char *out = NULL;

	while (n > 0 && path[n - 1] == '/')
		n--;
	if (tf_buf_append(&b, path, n) == 0 &&
	    (n >= 3 && memcmp(path + n - 3, "/v1", 3) == 0 ? 0 : tf_buf_addstr(&b, "/v1")) == 0)
		s = tf_buf_cstr(&b);
	if (s != NULL)
		out = tf_span_dup(tf_cspan(s));
	tf_buf_free(&b);
	return out;
}

int
wk_upstream_open(struct wk *wk, const char *url)
{
	struct http_client_conf cc;
	char why[256];

	if (strncmp(url, "https://", 8) == 0) {
		wk->tls = http_tls_client_new(wk->w->ca_file, why, sizeof why);
		if (wk->tls == NULL)
			goto refused;
	}
	http_client_conf_default(&cc);
	cc.connect_ms = (uint32_t)wk->w->connect_timeout;
	cc.idle_ms = (uint32_t)wk->w->pool_idle;
	cc.idle_max = (uint32_t)wk->slots;
	wk->client = http_client_new(wk->loop, &cc);
	if (wk->client == NULL)
		return TF_E_NOMEM;
	wk->origin = http_origin_new(wk->client, url, wk->tls, wk->w->proxy, why, sizeof why);
	if (wk->origin == NULL)
		goto refused;
	wk->base = wk_base(http_origin_base(wk->origin));
	wk->url = tf_span_dup(tf_cspan(url));
	return wk->base == NULL || wk->url == NULL ? TF_E_NOMEM : 0;
refused:
	tf_log(TF_ERROR, "upstream", NULL, "cannot use the runtime's address reason=%s", tf_log_q(tf_cspan(why)));
	return TF_E_INVAL;
}

void
wk_upstream_close(struct wk *wk)
{
	if (wk->origin != NULL)
		http_origin_free(&wk->origin);
	if (wk->client != NULL)
		http_client_free(&wk->client);
	if (wk->tls != NULL)
		http_tls_free(&wk->tls);
	free(wk->base);
	free(wk->url);
	wk->base = wk->url = NULL;
	if (wk->auth.p != NULL)
		tf_wipe(wk->auth.p, wk->auth.cap);
	tf_buf_free(&wk->auth);
}

#define WK_ANTHROPIC_VERSION "2023-06-01" /* what all of our requests keep to */

void
wk_upstream_fields(const struct wk *wk, const char *version, const char *beta, struct http_fields *f)
{
	struct tf_span auth = tf_buf_span(&wk->auth);
	size_t n = sizeof WK_BEARER - 1;

	if (auth.n > 0 && wk->dialect == DL_ANTHROPIC_MESSAGES && !(wk->quirks & DL_Q_BEARER))
		http_fields_add_str(f, "x-api-key", tf_span(auth.p + n, auth.n - n));
	else if (auth.n > 0)
		http_fields_add_str(f, "authorization", auth);
	if (wk->dialect != DL_ANTHROPIC_MESSAGES)
		return;
	http_fields_add(f, "anthropic-version", version != NULL ? version : WK_ANTHROPIC_VERSION);
	if (beta != NULL)
		http_fields_add(f, "anthropic-beta", beta);
}

int
wk_upstream_target(const struct wk *wk, const char *rest, char *out, size_t cap)
{
	const char *last = strrchr(wk->base, '/');
	int n;

	/* beside the base's last part, which is /v1 */
	if (strncmp(rest, "/../", 4) == 0 && last != NULL)
		n = snprintf(out, cap, "%.*s%s", (int)(last - wk->base), wk->base, rest + 3);
	else
		n = snprintf(out, cap, "%s%s", wk->base, rest);

	return n > 0 && (size_t)n < cap ? 0 : TF_E_RANGE;
}

/* ---- addresses that the runtime gives ------------------------------------------------------- */

struct wk_address {
	bool tls;
	struct tf_span host; /* brackets included */
	uint64_t port;
	struct tf_span path; /* with its query; empty: none */
};

/* http://host[:port][/path]; a user's name in it is no address of a runtime. */
static bool
wk_address(struct tf_span s, struct wk_address *a)
{
	size_t scheme = s.n > 8 && strncasecmp(s.p, "https://", 8) == 0 ? 8 : 7, n, colon;
	struct tf_span port;

	if (s.n <= scheme || (scheme == 7 && strncasecmp(s.p, "http://", 7) != 0))
		return false;
	a->tls = scheme == 8;
	s = tf_span(s.p + scheme, s.n - scheme);
	for (n = 0; n < s.n && strchr("/?#", s.p[n]) == NULL; n++)
		if (s.p[n] == '@' || s.p[n] == '\\')
			return false;
	a->path = tf_span(s.p + n, s.n - n);
	for (colon = n; colon > 0 && s.p[colon - 1] != ':' && s.p[colon - 1] != ']'; colon--)
		;
	a->port = a->tls ? 443 : 80;
	if (colon == 0 || s.p[colon - 1] == ']')
		colon = n + 1;
	port = colon <= n ? tf_span(s.p + colon, n - colon) : tf_span(NULL, 0);
	a->host = tf_span(s.p, colon - 1);
	return a->host.n > 0 && (port.n == 0 || tf_span_u64(port, 65535, &a->port) == 0);
}

int
wk_upstream_own(const char *own, struct tf_span url, char *target, size_t cap)
{
	struct wk_address ours, theirs;
	struct tf_span path = url;
	int n;

	for (size_t i = 0; i < url.n; i++)
		if (url.p[i] <= ' ' || url.p[i] >= 0x7f)
			return TF_E_NOENT;
	if (url.n == 0 || url.p[0] != '/' || (url.n > 1 && (url.p[1] == '/' || url.p[1] == '\\'))) {
		if (!wk_address(tf_cspan(own), &ours) || !wk_address(url, &theirs) || ours.tls != theirs.tls ||
		    ours.port != theirs.port || ours.host.n != theirs.host.n ||
		    strncasecmp(ours.host.p, theirs.host.p, ours.host.n) != 0)
			return TF_E_NOENT;
		path = theirs.path;
	}
	for (size_t i = 0; i < path.n; i++)
		if (path.p[i] == '#')
			path.n = i;
	n = snprintf(target, cap, "%s%.*s", path.n > 0 && path.p[0] == '/' ? "" : "/", (int)path.n, path.n > 0 ? path.p : "");
	return n > 0 && (size_t)n < cap ? 0 : TF_E_RANGE;
}
