/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splits a runtime's command line. No shell sees it: nothing is expanded but {port} and {socket}.
 */
#include "config.h"

#include <stdlib.h>

#include "workerd/wk.h"

void
wk_argv_free(char ***argvp)
{
	char **argv = *argvp;

	*argvp = NULL;
	for (size_t i = 0; argv != NULL && argv[i] != NULL; i++)
		free(argv[i]);
	free(argv);
}

static int
wk_argv_add(char ***argv, size_t *n, struct tf_buf *word)
{
	char **v = realloc(*argv, (*n + 2) * sizeof *v);

	if (v == NULL)
		return TF_E_NOMEM;
	*argv = v;
	v[*n] = tf_span_dup(tf_buf_span(word));
	v[*n + 1] = NULL;
	if (v[*n] == NULL)
		return TF_E_NOMEM;
	(*n)++;
	tf_buf_reset(word);
	return 0;
}

/* One character or one {name}; returns how much of the line it took. */
static size_t
wk_argv_take(const char *p, const char *port, const char *socket, struct tf_buf *word, int *rc)
{
	if (strncmp(p, "{port}", 6) == 0) {
		*rc = tf_buf_addstr(word, port);
		return 6;
	}
	if (strncmp(p, "{socket}", 8) == 0) {
		*rc = tf_buf_addstr(word, socket);
		return 8;
	}
	*rc = tf_buf_addc(word, *p);
	return 1;
}

static int
wk_argv_words(const char *p, const char *port, const char *socket, struct tf_buf *word, char ***argv)
{
	bool inword = false;
	char quote = '\0';
	size_t n = 0;
	int rc = 0;

	for (; *p != '\0' && rc == 0;) {
		if (quote == '\0' && (*p == ' ' || *p == '\t')) {
			if (inword)
				rc = wk_argv_add(argv, &n, word);
			inword = false;
			p++;
		} else if (quote == '\0' && (*p == '\'' || *p == '"')) {
			quote = *p++;
			inword = true;
		} else if (quote != '\0' && *p == quote) {
			quote = '\0';
			p++;
		} else if (quote != '\'' && *p == '\\' && p[1] != '\0') {
			rc = tf_buf_addc(word, p[1]);
			inword = true;
			p += 2;
		} else {
			p += wk_argv_take(p, port, socket, word, &rc);
			inword = true;
		}
	}
	if (rc == 0 && inword)
		rc = quote != '\0' ? TF_E_INVAL : wk_argv_add(argv, &n, word);
	return rc != 0 ? rc : n > 0 ? 0 : TF_E_INVAL;
}

int
wk_argv_split(const char *line, const char *port, const char *socket, char ***out)
{
	struct tf_buf word = { 0 };
	int rc;

	*out = NULL;
	rc = wk_argv_words(line, port, socket, &word, out);
	tf_buf_free(&word);
	if (rc != 0)
		wk_argv_free(out);
	return rc;
}
