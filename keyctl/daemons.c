/* SPDX-License-Identifier: Apache-2.0 */
/* Which daemons there are to ask, on this host. Used by status and metrics. */
#include "config.h"

#include <dirent.h>
#include <stdlib.h>

#include "keyctl/kc.h"

#define DAEMONS_MAX 512

static void
add(struct kc_names *a, struct tf_span name)
{
	if (a->n == DAEMONS_MAX || name.n == 0 || name.n > CTL_NAME_MAX)
		return;
	for (size_t i = 0; i < a->n; i++)
		if (tf_span_is(name, a->v[i]))
			return;
	memcpy(a->v[a->n], name.p, name.n);
	a->v[a->n++][name.n] = '\0';
}

static int
is_socket(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return n > 4 && strcmp(e->d_name + n - 4, ".ctl") == 0;
}

int
kc_daemons(struct kc *k, struct kc_names *a)
{
	const char *dir = kc_run_dir(k);
	struct dirent **names = NULL;
	int n;

	*a = (struct kc_names){ 0 };
	if (dir == NULL)
		return CTL_FAILED;
	a->v = calloc(DAEMONS_MAX, sizeof *a->v);
	if (a->v == NULL)
		return kc_fail(k, CTL_FAILED, "out of memory");
	add(a, k->conf != NULL ? tf_cspan(k->conf->gatewayd.name) : TF_SPAN("gatewayd"));
	add(a, k->conf != NULL ? tf_cspan(k->conf->routerd.name) : TF_SPAN("routerd"));
	add(a, TF_SPAN("billingd"));
	add(a, TF_SPAN("stored"));
	for (size_t i = 0; k->conf != NULL && i < k->conf->worker_n; i++)
		add(a, tf_cspan(k->conf->worker[i].name));
	n = scandir(dir, &names, is_socket, alphasort);
	for (int i = 0; i < n; i++) {
		add(a, tf_span(names[i]->d_name, strlen(names[i]->d_name) - 4));
		free(names[i]);
	}
	free(names);
	return 0;
}

void
kc_names_free(struct kc_names *a)
{
	free(a->v);
	*a = (struct kc_names){ 0 };
}
