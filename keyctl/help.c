/* SPDX-License-Identifier: Apache-2.0 */
/* --help and the bash completion, both from the table. */
#include "config.h"

#include "keyctl/kc.h"

static void
help_args(FILE *out, const struct kc_line *cmd)
{
	const struct kc_line *l;

	KC_EACH(cmd, l)
		if (l->kind == KC_POS)
			fprintf(out, l->rule == KC_IS_REQ ? " %s" : " [%s]", l->meta);
	KC_EACH(cmd, l) {
		if (l->kind != KC_OPT)
			continue;
		fprintf(out, l->rule == KC_IS_REQ ? " --%s%s%s" : " [--%s%s%s]", l->name,
		    l->what == KC_FLAG ? "" : " ", l->meta);
		if (l->what == KC_MANY)
			fputs("...", out);
	}
	fputc('\n', out);
}

void
kc_help(FILE *out)
{
	const struct kc_line *c;

	fputs("usage: keyctl [-c FILE] [--run-dir DIR] [--json] COMMAND [ARGUMENTS]\n\n", out);
	KC_EACH_CMD(c) {
		fprintf(out, "  %s", c->name);
		help_args(out, c);
		fprintf(out, "      %s\n", c->help);
	}
	fputs(
	    "\n"
	    "  -c, --config FILE     configuration file (" TF_CONF_FILE ")\n"
	    "      --run-dir DIR     directory of the control sockets; else of -c, else $TOKENFACTORY_RUN_DIR\n"
	    "      --json            print JSON: an array of rows, or one object\n"
	    "      --completion bash print a completion script\n"
	    "  -h, --help            this text; behind a command, that command's\n"
	    "  -V, --version         print the version\n\n"
	    "exit status:\n"
	    "  0  done\n",
	    out);
#define CTL_ERR(sym, number, code, help) fprintf(out, "  %d  %s\n", number, help);
#include "common/ctl/err.def"
#undef CTL_ERR
}

/* Columns left of the 28 for a metavar behind "--name ". */
static int
pad(const char *name)
{
	size_t n = strlen(name);

	return n < 25 ? (int)(25 - n) : 0;
}

void
kc_help_cmd(FILE *out, const struct kc_line *cmd)
{
	const struct kc_line *l;

	fprintf(out, "usage: keyctl %s", cmd->name);
	help_args(out, cmd);
	fprintf(out, "%s\n", cmd->help);
	KC_EACH(cmd, l) {
		if (l->kind == KC_POS)
			fprintf(out, "  %-28s%s\n", l->meta, l->help);
		if (l->kind == KC_OPT)
			fprintf(out, "  --%s %-*s%s\n", l->name, pad(l->name), l->meta, l->help);
	}
}

/* ---- completion --------------------------------------------------------------------------- */

static void
choices(FILE *out, const char *list)
{
	for (; *list != '\0'; list++)
		fputc(*list == '|' ? ' ' : *list, out);
}

/* Second words of the commands that begin with this one, or, for NULL, every first word once. */
static void
complete_words(FILE *out, const char *first)
{
	size_t n = first != NULL ? strlen(first) : 0, last = 0;
	const struct kc_line *c;
	const char *before = "";

	KC_EACH_CMD(c) {
		size_t w = strcspn(c->name, " ");

		if (first != NULL && w == n && memcmp(c->name, first, n) == 0 && c->name[w] != '\0')
			fprintf(out, "%s ", c->name + w + 1);
		if (first == NULL && (w != last || memcmp(c->name, before, w) != 0))
			fprintf(out, "%.*s ", (int)w, c->name);
		before = c->name;
		last = w;
	}
}

/* The case of one command: its options, and the values of those that have a choice. */
static void
complete_cmd(FILE *out, const struct kc_line *c)
{
	const struct kc_line *l;

	fprintf(out, "\t'%s'*)\n\t\topts='", c->name);
	if (strchr(c->name, ' ') == NULL)
		complete_words(out, c->name);
	KC_EACH(c, l)
		if (l->kind == KC_POS && l->what == KC_CHOICE) {
			choices(out, l->meta);
			fputc(' ', out);
		}
	KC_EACH(c, l)
		if (l->kind == KC_OPT)
			fprintf(out, "--%s ", l->name);
	fputs("--json --help'\n\t\tcase $prev in\n", out);
	KC_EACH(c, l) {
		if (l->kind != KC_OPT || l->what == KC_FLAG)
			continue;
		fprintf(out, "\t\t--%s) opts='", l->name);
		if (l->what == KC_CHOICE)
			choices(out, l->meta);
		fputs("' ;;\n", out);
	}
	fputs("\t\tesac\n\t\t;;\n", out);
}

static bool
is_command(const char *name)
{
	const struct kc_line *c;

	KC_EACH_CMD(c)
		if (strcmp(c->name, name) == 0)
			return true;
	return false;
}

/* One case for each first word that has second ones and is no command by itself. */
static void
complete_groups(FILE *out)
{
	const struct kc_line *c;
	const char *before = "";

	KC_EACH_CMD(c) {
		char first[32];
		size_t w = strcspn(c->name, " ");

		snprintf(first, sizeof first, "%.*s", (int)w, c->name);
		if (c->name[w] == '\0' || (strncmp(before, first, w) == 0 && before[w] == ' ') || is_command(first))
			continue;
		fprintf(out, "\t%s) opts='", first);
		complete_words(out, first);
		fputs("' ;;\n", out);
		before = c->name;
	}
}

void
kc_completion(FILE *out)
{
	const struct kc_line *c;

	fputs(
	    "# SPDX-License-Identifier: Apache-2.0\n"
	    "# bash completion of keyctl; made by: keyctl --completion bash\n"
	    "_keyctl()\n"
	    "{\n"
	    "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words= opts= i\n"
	    "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	    "\t\tcase ${COMP_WORDS[i]} in\n"
	    "\t\t-c|--config|--run-dir|--completion) ((i++)) ;;\n"
	    "\t\t-*) ;;\n"
	    "\t\t*) words+=${words:+ }${COMP_WORDS[i]} ;;\n"
	    "\t\tesac\n"
	    "\tdone\n"
	    "\tcase $words in\n"
	    "\t'') opts='",
	    out);
	complete_words(out, NULL);
	fputs("--config --run-dir --json --completion --help --version' ;;\n", out);
	complete_groups(out);
	/* the longer words first: "topup list" is also a beginning with "topup" */
	KC_EACH_CMD(c)
		if (strchr(c->name, ' ') != NULL)
			complete_cmd(out, c);
	KC_EACH_CMD(c)
		if (strchr(c->name, ' ') == NULL)
			complete_cmd(out, c);
	fputs("\tesac\n"
	      "\tcase $prev in\n"
	      "\t-c|--config) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
	      "\t--run-dir) COMPREPLY=($(compgen -d -- \"$cur\")) ;;\n"
	      "\t--completion) COMPREPLY=($(compgen -W bash -- \"$cur\")) ;;\n"
	      "\t*) COMPREPLY=($(compgen -W \"$opts\" -- \"$cur\")) ;;\n"
	      "\tesac\n"
	      "}\n"
	      "complete -F _keyctl keyctl tf-keyctl\n",
	    out);
}
