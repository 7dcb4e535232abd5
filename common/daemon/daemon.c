/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The skeleton. One process, one main loop; what differs between daemons is in their hooks.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/daemon/daemon.h"
#include "common/daemon/notify.h"
#include "common/wire/wire.def"

#define DMN_TEXT(number) DMN_TEXT_(number)
#define DMN_TEXT_(number) #number
#define DMN_WIRE DMN_TEXT(WIRE_MAJOR) "." DMN_TEXT(WIRE_MINOR) /* for keyctl status */
#define DMN_OPTIONS_MAX 8
#define DMN_DRAIN_MS 60000
#define DMN_DRAIN_SLACK_MS 5000 /* the daemon ends its work itself; this is for one that cannot */

enum { DMN_O_CHECK = 1000, DMN_O_DUMP, DMN_O_LEVEL, DMN_O_OWN };

struct dmn {
	const struct dmn_hooks *hooks;
	const char *conf_path;
	const char *values[DMN_OPTIONS_MAX];
	const char *level; /* --log-level; stands over the file's */
	bool check_only, dump_only;
	struct conf *conf;
	struct ev_loop *loop;
	struct ctl *ctl;
	void *data;
	struct dmn_fds fds;
	struct ev_signal sig_term, sig_int, sig_quit, sig_hup, sig_usr1;
	struct ev_timer watchdog, drain_timer;
	uint64_t watchdog_us;
	bool given; /* the init hook was called: a daemon that owns configurations has it */
	bool draining, ended, failed;
	int status;
};

/* ---- accessors ------------------------------------------------------------------------------ */

struct ev_loop *
dmn_loop(struct dmn *d)
{
	return d->loop;
}

const struct conf *
dmn_conf(const struct dmn *d)
{
	return d->conf;
}

const char *
dmn_option(const struct dmn *d, const char *name)
{
	for (size_t i = 0; i < d->hooks->noptions; i++)
		if (strcmp(d->hooks->options[i].name, name) == 0)
			return d->values[i];
	return NULL;
}

void *
dmn_data(const struct dmn *d)
{
	return d->data;
}

void
dmn_set_data(struct dmn *d, void *data)
{
	d->data = data;
}

bool
dmn_draining(const struct dmn *d)
{
	return d->draining;
}

size_t
dmn_listen_count(const struct dmn *d)
{
	return d->fds.n;
}

int
dmn_listen_fd(const struct dmn *d, size_t i)
{
	return d->fds.fd[i];
}

const char *
dmn_listen_name(const struct dmn *d, size_t i)
{
	return d->fds.name[i];
}

/* ---- arguments ------------------------------------------------------------------------------ */

static void
dmn_help(const struct dmn_hooks *h, FILE *out)
{
	fprintf(out, "usage: %s [options]\n%s\n\n", h->name, h->summary);
	fprintf(out, "  -c, --config FILE      configuration (%s)\n", TF_CONF_FILE);
	fprintf(out, "      --check-config     check it, say what is wrong, and end\n");
	fprintf(out, "      --dump-config      print what is in force, and end\n");
	fprintf(out, "      --log-level LEVEL  error, warn, info or debug, whatever the file says\n");
	for (size_t i = 0; i < h->noptions; i++)
		fprintf(out, "      --%s %-*s %s%s\n", h->options[i].name,
		    15 - (int)strlen(h->options[i].name), h->options[i].value, h->options[i].help,
		    h->options[i].required ? " (required)" : "");
	fprintf(out, "  -v, --version          print the version, and end\n");
	fprintf(out, "  -h, --help             print this, and end\n");
	fprintf(out, "\nexit status: 0 ended as asked, 1 failed, 2 wrong usage, 78 bad configuration\n");
}

static void
dmn_long_options(const struct dmn_hooks *h, struct option *o)
{
	static const struct option common[] = {
		{ "config", required_argument, NULL, 'c' }, { "check-config", no_argument, NULL, DMN_O_CHECK },
		{ "dump-config", no_argument, NULL, DMN_O_DUMP }, { "log-level", required_argument, NULL, DMN_O_LEVEL },
		{ "version", no_argument, NULL, 'v' }, { "help", no_argument, NULL, 'h' },
	};

	memcpy(o, common, sizeof common);
	o += TF_LEN(common);
	for (size_t i = 0; i < h->noptions; i++)
		*o++ = (struct option){ h->options[i].name, required_argument, NULL, DMN_O_OWN + (int)i };
	*o = (struct option){ 0 };
}

/* -1: go on; else the status to end with. */
static int
dmn_args(struct dmn *d, int argc, char **argv)
{
	struct option o[DMN_OPTIONS_MAX + 8];
	enum tf_level level;
	int c;

	dmn_long_options(d->hooks, o);
	while ((c = getopt_long(argc, argv, "c:vh", o, NULL)) != -1) {
		switch (c) {
		case 'c': d->conf_path = optarg; break;
		case DMN_O_CHECK: d->check_only = true; break;
		case DMN_O_DUMP: d->dump_only = true; break;
		case DMN_O_LEVEL: d->level = optarg; break;
		case 'v':
			fprintf(stdout, "%s (Token Factory) %s\n", d->hooks->name, PACKAGE_VERSION);
			return DMN_EXIT_OK;
		case 'h':
			dmn_help(d->hooks, stdout);
			return DMN_EXIT_OK;
		default:
			if (c < DMN_O_OWN) {
				dmn_help(d->hooks, stderr);
				return DMN_EXIT_USAGE;
			}
			d->values[c - DMN_O_OWN] = optarg;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "%s: unexpected argument %s\n", d->hooks->name, argv[optind]);
		return DMN_EXIT_USAGE;
	}
	if (d->level != NULL && tf_level_parse(d->level, &level) != 0) {
		fprintf(stderr, "%s: --log-level: error, warn, info or debug\n", d->hooks->name);
		return DMN_EXIT_USAGE;
	}
	for (size_t i = 0; i < d->hooks->noptions; i++) {
		if (d->hooks->options[i].required && d->values[i] == NULL) {
			fprintf(stderr, "%s: --%s is needed\n", d->hooks->name, d->hooks->options[i].name);
			return DMN_EXIT_USAGE;
		}
	}
	return -1;
}

/* ---- configuration -------------------------------------------------------------------------- */

/* Returns new, or NULL after say(arg, reason) was called for each fault. */
static struct conf *
dmn_conf_read(struct dmn *d, void (*say)(const struct dmn *, const char *))
{
	struct conf_errors errors = { 0 };
	struct conf *conf = NULL;
	char why[512] = "refused";

	if (conf_load(d->conf_path, &conf, &errors) != 0) {
		for (size_t i = 0; i < errors.n; i++)
			say(d, errors.v[i]);
		if (errors.n == 0)
			say(d, "cannot be loaded");
		if (errors.more > 0)
			say(d, "and more of that kind");
		conf_errors_free(&errors);
		return NULL;
	}
	conf_errors_free(&errors);
	if (d->hooks->check != NULL && d->hooks->check(d, conf, why, sizeof why) != 0) {
		say(d, why);
		conf_free(&conf);
	}
	return conf;
}

static void
dmn_say_stderr(const struct dmn *d, const char *reason)
{
	fprintf(stderr, "%s: %s\n", d->hooks->name, reason);
}

static void
dmn_say_log(const struct dmn *d, const char *reason)
{
	(void)d;
	tf_log(TF_ERROR, "config", NULL, "refused reason=%s", tf_log_q(tf_cspan(reason)));
}

static void
dmn_log_setup(struct dmn *d)
{
	enum tf_level level = TF_INFO;

	if (tf_level_parse(d->level ? d->level : d->conf->common.log_level, &level) != 0)
		level = TF_INFO;
	tf_log_init(d->hooks->name, level, strcmp(d->conf->common.log_format, "json") == 0);
}

static void
dmn_diff_row(void *arg, const struct conf_row *before, const struct conf_row *after, bool restart)
{
	const struct conf_row *row = after ? after : before;

	(void)arg;
	if (restart)
		tf_log(TF_WARN, "config", NULL, "changed, but needs a restart section=%s key=%s", tf_log_q(tf_cspan(row->section)),
		    row->key);
}

static void
dmn_reload(struct dmn *d)
{
	struct conf *before = d->conf, *conf;
	char text[96];

	snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)(tf_mono_ns() / 1000));
	dmn_notify(text);
	conf = dmn_conf_read(d, dmn_say_log);
	if (conf == NULL) {
		tf_log(TF_ERROR, "config", NULL, "not reloaded: the former configuration stays in force");
		dmn_notify("READY=1");
		return;
	}
	conf_diff(before, conf, dmn_diff_row, NULL);
	d->conf = conf;
	dmn_log_setup(d);
	if (d->hooks->reload != NULL)
		d->hooks->reload(d, before);
	if (!d->hooks->owns_conf)
		conf_free(&before);
	tf_log(TF_INFO, "config", NULL, "reloaded");
	dmn_notify("READY=1");
}

/* ---- signals, drain, watchdog ----------------------------------------------------------------- */

static void
dmn_end(struct dmn *d)
{
	if (d->ended)
		return;
	d->ended = true;
	ev_loop_stop(d->loop);
}

void
dmn_drained(struct dmn *d)
{
	dmn_end(d);
}

void
dmn_fail(struct dmn *d)
{
	d->failed = true;
	dmn_end(d);
}

static void
dmn_drain_late(void *arg)
{
	struct dmn *d = arg;

	tf_log(TF_WARN, "daemon", NULL, "still not drained, ending");
	dmn_end(d);
}

static void
dmn_on_term(int signo, void *arg)
{
	struct dmn *d = arg;
	uint64_t ms = d->hooks->drain_ms ? d->hooks->drain_ms(d) : DMN_DRAIN_MS;

	if (d->draining || signo != SIGTERM) {
		tf_log(TF_INFO, "daemon", NULL, "ending now signal=%d", signo);
		dmn_end(d);
		return;
	}
	tf_log(TF_INFO, "daemon", NULL, "draining");
	dmn_notify("STOPPING=1");
	d->draining = true;
	ev_timer_set(&d->drain_timer, ms + DMN_DRAIN_SLACK_MS);
	if (d->hooks->drain != NULL)
		d->hooks->drain(d);
	else
		dmn_drained(d);
}

static void
dmn_on_hup(int signo, void *arg)
{
	(void)signo;
	dmn_reload(arg);
}

static void
dmn_on_usr1(int signo, void *arg)
{
	struct dmn *d = arg;

	(void)signo;
	if (d->hooks->dump != NULL)
		d->hooks->dump(d);
}

static void
dmn_on_watchdog(void *arg)
{
	struct dmn *d = arg;

	dmn_notify("WATCHDOG=1");
	ev_timer_set_us(&d->watchdog, d->watchdog_us / 2);
}

static int
dmn_signals(struct dmn *d)
{
	if (ev_signal_add(&d->sig_term, d->loop, SIGTERM, dmn_on_term, d) != 0 ||
	    ev_signal_add(&d->sig_int, d->loop, SIGINT, dmn_on_term, d) != 0 ||
	    ev_signal_add(&d->sig_quit, d->loop, SIGQUIT, dmn_on_term, d) != 0 ||
	    ev_signal_add(&d->sig_hup, d->loop, SIGHUP, dmn_on_hup, d) != 0 ||
	    ev_signal_add(&d->sig_usr1, d->loop, SIGUSR1, dmn_on_usr1, d) != 0)
		return TF_E_IO;
	ev_timer_init(&d->drain_timer, d->loop, dmn_drain_late, d);
	ev_timer_init(&d->watchdog, d->loop, dmn_on_watchdog, d);
	d->watchdog_us = dmn_watchdog_us();
	if (d->watchdog_us > 0)
		ev_timer_set(&d->watchdog, 0);
	return 0;
}

static void
dmn_signals_end(struct dmn *d)
{
	ev_signal_del(&d->sig_term);
	ev_signal_del(&d->sig_int);
	ev_signal_del(&d->sig_quit);
	ev_signal_del(&d->sig_hup);
	ev_signal_del(&d->sig_usr1);
	ev_timer_del(&d->drain_timer);
	ev_timer_del(&d->watchdog);
}

/* ---- process -------------------------------------------------------------------------------- */

/* Keys pass through our memory: no core file, no attaching by other processes of the user. */
static void
dmn_process(void)
{
	struct rlimit none = { 0, 0 }, files;

	(void)umask(027);
	(void)signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	if (getenv("TF_DEBUG_CORE") != NULL)
		return;
	(void)setrlimit(RLIMIT_CORE, &none);
#ifndef TF_SANITIZED /* the leak check attaches to its own process */
	(void)prctl(PR_SET_DUMPABLE, 0);
#endif
}

static int
dmn_run_dir(const struct dmn *d)
{
	const char *dir = d->conf->common.run_dir;
	struct stat st;

	if (mkdir(dir, 0750) != 0 && errno != EEXIST) {
		tf_log(TF_ERROR, "daemon", NULL, "cannot make run-dir path=%s errno=%d", tf_log_q(tf_cspan(dir)), errno);
		return TF_E_IO;
	}
	if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode) || (st.st_mode & 07) != 0) {
		tf_log(TF_ERROR, "daemon", NULL, "run-dir must be a directory that others cannot enter path=%s",
		    tf_log_q(tf_cspan(dir)));
		return TF_E_IO;
	}
	return 0;
}

static const struct conf *
dmn_ctl_conf(void *arg)
{
	return dmn_conf(arg);
}

static int
dmn_ctl(struct dmn *d)
{
	const char *name = d->hooks->instance ? d->hooks->instance(d, d->conf) : d->hooks->name;
	struct ctl_options opt = {
		.run_dir = d->conf->common.run_dir, .name = name, .daemon = d->hooks->name, .conf = dmn_ctl_conf,
		.arg = d, .cmds = d->hooks->cmds, .ncmds = d->hooks->ncmds, .wire = DMN_WIRE,
		.record = d->hooks->record, .tell = d->hooks->record == NULL,
	};
	int rc = ctl_open(d->loop, &opt, &d->ctl);

	if (rc != 0)
		tf_log(TF_ERROR, "daemon", NULL, "cannot open the control socket name=%s error=%s", name,
		    rc == TF_E_EXIST ? "another instance runs" : tf_err_text(rc));
	return rc;
}

/* From init to the end of the loop. */
static void
dmn_work(struct dmn *d)
{
	d->given = true;
	if (d->hooks->init(d) != 0) {
		tf_log(TF_ERROR, "daemon", NULL, "not started");
		return;
	}
	tf_log(TF_INFO, "daemon", NULL, "ready version=%s pid=%d", PACKAGE_VERSION, (int)getpid());
	dmn_notify("READY=1");
	if (!d->ended && ev_loop_run(d->loop) != 0)
		tf_log(TF_ERROR, "daemon", NULL, "the event loop failed errno=%d", errno);
	else if (!d->failed)
		d->status = DMN_EXIT_OK;
	dmn_notify("STOPPING=1");
}

static void
dmn_serve(struct dmn *d)
{
	d->status = DMN_EXIT_FAILED;
	if (tf_clock_init() != 0) {
		tf_log(TF_ERROR, "daemon", NULL, "cannot map TF_CLOCK_FILE");
		return;
	}
	d->loop = ev_loop_new();
	if (d->loop == NULL || dmn_run_dir(d) != 0)
		return;
	dmn_fds_take(&d->fds);
	if (dmn_signals(d) == 0 && dmn_ctl(d) == 0) {
		dmn_work(d);
		ctl_close(&d->ctl);
		d->hooks->stop(d);
	}
	dmn_signals_end(d);
	dmn_fds_free(&d->fds);
	tf_log(TF_INFO, "daemon", NULL, "ended status=%d", d->status);
}

static int
dmn_dump(const struct dmn *d)
{
	struct tf_buf out = { 0 };
	int rc = conf_dump(d->conf, true, &out);

	if (rc == 0 && fwrite(out.p, 1, out.n, stdout) != out.n)
		rc = TF_E_IO;
	tf_buf_free(&out);
	return rc == 0 ? DMN_EXIT_OK : DMN_EXIT_FAILED;
}

int
dmn_run(const struct dmn_hooks *hooks, int argc, char **argv)
{
	struct dmn d = { .hooks = hooks, .conf_path = TF_CONF_FILE };
	int rc;

	assert(hooks->noptions <= DMN_OPTIONS_MAX);
	rc = dmn_args(&d, argc, argv);
	if (rc >= 0)
		return rc;
	dmn_process();
	tf_log_init(hooks->name, TF_INFO, false);
	d.conf = dmn_conf_read(&d, dmn_say_stderr);
	if (d.conf == NULL)
		return DMN_EXIT_CONFIG;
	if (d.check_only || d.dump_only) {
		rc = d.dump_only ? dmn_dump(&d) : DMN_EXIT_OK;
		conf_free(&d.conf);
		return rc;
	}
	dmn_log_setup(&d);
	dmn_serve(&d);
	if (!hooks->owns_conf || !d.given)
		conf_free(&d.conf);
	if (d.loop != NULL)
		ev_loop_free(&d.loop);
	return d.status;
}
