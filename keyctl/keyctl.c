/* SPDX-License-Identifier: Apache-2.0 */
/* One run of keyctl: options, the command's row, the request, the answer. */
#include "config.h"

#include <stdlib.h>

#include "keyctl/kc.h"

int
kc_fail(struct kc *k, int status, const char *fmt, ...)
{
	va_list ap;

	fputs("keyctl: ", k->err);
	va_start(ap, fmt);
	vfprintf(k->err, fmt, ap);
	va_end(ap);
	fputc('\n', k->err);
	return status;
}

/* ---- words -------------------------------------------------------------------------------- */

/*
 * What is left of the line when keyctl's own options are taken out; they may stand anywhere before
 * "--".
 */
struct line {
	char **v;
	int n;
	bool help, version, completion;
};

/*
 * --run-dir DIR or --run-dir=DIR: its value, and how many words it took; NULL when word is another
 * option.
 */
static const char *
value_of(const char *word, const char *next, const char *name, int *used)
{
	size_t n = strlen(name);

	if (strncmp(word, name, n) != 0)
		return NULL;
	if (word[n] == '=' && word[1] == '-') {
		*used = 1;
		return word + n + 1;
	}
	if (word[n] != '\0' || next == NULL)
		return NULL;
	*used = 2;
	return next;
}

/* Takes one of keyctl's own options at argv[i]. False when it is none of them. */
static bool
own_option(struct kc *k, struct line *l, const char *word, const char *next, int *used)
{
	const char *v;

	*used = 1;
	if (strcmp(word, "--json") == 0)
		k->json = true;
	else if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0)
		l->help = true;
	else if (strcmp(word, "-V") == 0 || strcmp(word, "--version") == 0)
		l->version = true;
	else if ((v = value_of(word, next, "-c", used)) != NULL ||
	    (v = value_of(word, next, "--config", used)) != NULL)
		k->conf_path = v;
	else if ((v = value_of(word, next, "--run-dir", used)) != NULL)
		k->run_dir = v;
	else if ((v = value_of(word, next, "--completion", used)) != NULL && strcmp(v, "bash") == 0)
		l->completion = true;
	else
		return false;
	return true;
}

static void
split(struct kc *k, struct line *l, int argc, char **argv)
{
	bool words_only = false;
	int used;

	for (int i = 1; i < argc; i += used) {
		used = 1;
		words_only |= strcmp(argv[i], "--") == 0;
		if (words_only ||
		    !own_option(k, l, argv[i], i + 1 < argc ? argv[i + 1] : NULL, &used))
			l->v[l->n++] = argv[i];
	}
}

/* The command whose words begin the line; *words says how many they are. */
static const struct kc_line *
find(const struct line *l, int *words)
{
	const struct kc_line *c, *best = NULL;

	*words = 0;
	KC_EACH_CMD(c) {
		size_t n = strcspn(c->name, " ");
		bool two = c->name[n] == ' ';

		if (l->n < 1 + two || strlen(l->v[0]) != n || memcmp(l->v[0], c->name, n) != 0)
			continue;
		if (two && strcmp(l->v[1], c->name + n + 1) != 0)
			continue;
		best = c;
		*words = 1 + two;
	}
	return best;
}

/* No command: says which there are behind the first word. */
static int
no_command(struct kc *k, const struct line *l)
{
	const struct kc_line *c;
	bool any = false;
	size_t n;

	if (l->n == 0)
		return kc_fail(k, CTL_USAGE, "no command; see keyctl --help");
	n = strlen(l->v[0]);
	KC_EACH_CMD(c)
		if (strncmp(c->name, l->v[0], n) == 0 && c->name[n] == ' ') {
			fprintf(k->err, "%s%s", any ? ", " : "keyctl: which? ", c->name);
			any = true;
		}
	if (!any)
		return kc_fail(k, CTL_USAGE, "no command %s; see keyctl --help", l->v[0]);
	fputc('\n', k->err);
	return CTL_USAGE;
}

/* ---- running ------------------------------------------------------------------------------ */

/*
 * Instance name of the daemon that the command goes to; NULL when the configuration is needed and
 * unusable.
 */
static const char *
instance(struct kc *k)
{
	if (k->cmd->what == KC_DAEMON)
		return k->daemon;
	if (kc_run_dir(k) == NULL)
		return NULL;
	if (k->cmd->what == KC_GATEWAYD)
		return k->conf != NULL ? k->conf->gatewayd.name : "gatewayd";
	if (k->cmd->what == KC_ROUTERD)
		return k->conf != NULL ? k->conf->routerd.name : "routerd";
	return k->cmd->what == KC_STORED ? "stored" : "billingd";
}

static int
ask(struct kc *k)
{
	char message[1024] = "";
	const char *name = instance(k);
	int r;

	if (name == NULL)
		return CTL_FAILED; /* said by whoever found out */
	r = kc_ask(k, name, k->cmd->name, &k->rows, message, sizeof message);
	if (r == CTL_CONFLICT && k->rows.n > 0)
		kc_show(k); /* what is in the way */
	if (r != CTL_OK)
		return kc_fail(k, r, "%s", message);
	if (k->cmd->output != KC_ROWS && k->rows.n != 1)
		return kc_fail(
		    k, CTL_FAILED, "%s answered %zu rows where one was due", name, k->rows.n);
	kc_show(k);
	return CTL_OK;
}

static int
run(struct kc *k, struct line *l)
{
	int words, r;

	if (l->version) {
		fprintf(k->out, "keyctl (Token Factory) %s\n", PACKAGE_VERSION);
		return CTL_OK;
	}
	if (l->completion) {
		kc_completion(k->out);
		return CTL_OK;
	}
	k->cmd = find(l, &words);
	if (l->help && (k->cmd != NULL || l->n == 0)) {
		if (k->cmd != NULL)
			kc_help_cmd(k->out, k->cmd);
		else
			kc_help(k->out);
		return CTL_OK;
	}
	if (k->cmd == NULL)
		return no_command(k, l);
	r = kc_take_args(k, l->n - words, l->v + words);
	if (r != 0)
		return r;
	return k->cmd->what == KC_LOCAL ? kc_local(k) : ask(k);
}

int
kc_main(int argc, char **argv, FILE *out, FILE *err)
{
	struct kc k = { .out = out, .err = err };
	struct line l = { .v = calloc((size_t)argc + 1, sizeof(char *)) };
	int r;

	if (l.v == NULL)
		return kc_fail(&k, CTL_FAILED, "out of memory");
	split(&k, &l, argc, argv);
	r = run(&k, &l);
	free(l.v);
	kc_rows_free(&k.rows);
	tf_wipe(k.args.p, k.args.cap); /* a key may be in it */
	tf_buf_free(&k.args);
	conf_free(&k.conf);
	/* a full disk or a closed pipe must not look like success */
	if ((fflush(out) != 0 || ferror(out)) && r == CTL_OK)
		r = kc_fail(&k, CTL_FAILED, "cannot write the answer");
	return r;
}
