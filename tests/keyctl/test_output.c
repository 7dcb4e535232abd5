/* SPDX-License-Identifier: Apache-2.0 */
/* What keyctl prints: rows as tables and as JSON, what went wrong, the file, help; and where it finds its daemons. */
#include "config.h"

#include "tests/keyctl/bed.h"

static void
test_table(void **state)
{
	(void)state;
	script(
	    "{\"id\":\"1\",\"name\":\"m\xc3\xa4in\",\"plan\":\"test\",\"created\":0,\"keys\":12}",
	    "{\"id\":\"22\",\"name\":\"a\\u001b[31m\\u009b\\nb\",\"plan\":null,\"created\":null,"
	    "\"keys\":3}");
	assert_int_equal(keyctl("--run-dir DIR workspace list"), 0);
	assert_string_equal(got.out,
	    "ID  NAME       PLAN  CREATED               KEYS\n"
	    "1   m\xc3\xa4in       test  1970-01-01T00:00:00Z    12\n"
	    "22  a?[31m??b  -     -                        3\n");
	assert_string_equal(got.err, "");
	/* nothing there: the headings alone */
	script(NULL, NULL);
	assert_int_equal(keyctl("--run-dir DIR workspace list"), 0);
	assert_string_equal(got.out, "ID  NAME  PLAN  CREATED  KEYS\n");
	/* a column that no row has is left out */
	script("{\"requests\":5,\"input_tokens\":1,\"total_tokens\":2,\"cost\":\"0.25\",\"group\":"
	       "null}",
	    NULL);
	assert_int_equal(keyctl("--run-dir DIR usage"), 0);
	assert_string_equal(
	    got.out, "REQUESTS  INPUT  TOTAL  COST\n       5      1      2  0.25\n");
	/* what most models do not count shows up with the first one that does */
	script("{\"group\":\"a\",\"images\":0,\"audio_seconds\":0,\"characters\":0}",
	    "{\"group\":\"b\",\"images\":0,\"audio_seconds\":1.5,\"characters\":0}");
	assert_int_equal(keyctl("--run-dir DIR usage --by model"), 0);
	assert_string_equal(got.out, "GROUP  AUDIO-S\na            0\nb          1.5\n");
	/* one row stands upright */
	script(
	    "{\"id\":\"1\",\"name\":\"main\",\"plan\":\"test\",\"created\":0,\"keys\":12}", NULL);
	assert_int_equal(keyctl("--run-dir DIR workspace show main"), 0);
	assert_string_equal(got.out,
	    "ID       1\nNAME     main\nPLAN     test\nCREATED  1970-01-01T00:00:00Z\nKEYS     12\n");
	script("{\"id\":\"1\",\"models\":[\"a\",\"b\"],\"last_used\":null}", NULL);
	assert_int_equal(keyctl("--run-dir DIR key list"), 0);
	assert_string_equal(got.out, "ID  MODELS\n1   a,b\n");
}

static void
test_json(void **state)
{
	(void)state;
	script(WS, "{\"id\":1.50}");
	assert_int_equal(keyctl("--run-dir DIR --json workspace list"), 0);
	assert_string_equal(got.out, "[\n" WS ",\n{\"id\":1.50}\n]\n");
	assert_int_equal(js_valid(tf_cspan(got.out)), 0);
	script(NULL, NULL);
	assert_int_equal(keyctl("--run-dir DIR workspace list --json"), 0);
	assert_string_equal(got.out, "[]\n");
	script(WS, NULL);
	assert_int_equal(keyctl("--run-dir DIR workspace show main --json"), 0);
	assert_string_equal(got.out, WS "\n");
}

/* The key alone on stdout, everything else beside it. */
static void
test_key(void **state)
{
	(void)state;
	script(KEYROW, NULL);
	assert_int_equal(keyctl("--run-dir DIR key mint --workspace main"), 0);
	assert_string_equal(got.out, "tf-prod-secret\n");
	assert_string_equal(got.err, "key 01K; its text is shown this once\n");
	assert_int_equal(keyctl("--run-dir DIR key rotate 01K --json"), 0);
	assert_string_equal(got.out, KEYROW "\n");
	assert_string_equal(got.err, "");
}

static void
test_status_codes(void **state)
{
	static const enum ctl_err errs[] = { CTL_FAILED, CTL_USAGE, CTL_NOT_FOUND, CTL_CONFLICT,
		CTL_FORBIDDEN };

	(void)state;
	for (size_t i = 0; i < TF_LEN(errs); i++) {
		refuse(errs[i], "no, because");
		assert_int_equal(keyctl("--run-dir DIR workspace list"), errs[i]);
		assert_string_equal(got.out, "");
		assert_string_equal(got.err, "keyctl: no, because\n");
	}
	assert_int_equal(keyctl("--run-dir /nonexistent workspace list"), CTL_UNREACHABLE);
	assert_string_equal(
	    got.err, "keyctl: /nonexistent/billingd.ctl: No such file or directory\n");
	assert_int_equal(keyctl("-c /nonexistent model list"), CTL_FAILED);
	assert_string_equal(got.err, "keyctl: /nonexistent: No such file or directory\n");
	/* two rows where one is due */
	script(WS, WS);
	assert_int_equal(keyctl("--run-dir DIR workspace show main"), CTL_FAILED);
	assert_string_equal(got.out, "");
}

static void
test_status(void **state)
{
	(void)state;
	assert_int_equal(
	    keyctl("--run-dir DIR status"), CTL_UNREACHABLE); /* gatewayd is not there */
	assert_memory_equal(got.out, "NAME      DAEMON    STATE        VERSION  WIRE", 45);
	assert_non_null(strstr(got.out, "\ngatewayd  -         unreachable  -"));
	assert_non_null(strstr(got.out, "\nrouterd   routerd   up           " PACKAGE_VERSION));
	assert_non_null(strstr(got.out,
	    "\nrouterd\nSTATE  QUEUED\nup          3\n"
	    "\nown\nN\n1\n"
	    "\nworker\n"
	    "NAME           SLOTS  RUNNING\n"
	    "gpu-0             64        0\n"
	    "lpu-long-name      8      100\n"));
	assert_non_null(strstr(got.err, "gatewayd.ctl: No such file"));
	assert_int_equal(keyctl("--run-dir DIR status --json"), CTL_UNREACHABLE);
	assert_int_equal(js_valid(tf_cspan(got.out)), 0);
	assert_non_null(strstr(got.out,
	    "\"rows\":[{\"kind\":\"routerd\",\"state\":\"up\",\"queued\":3},{\"n\":1,\"kind\":\"own\"},"
	    "{\"kind\":\"worker\",\"name\":\"gpu-0\",\"slots\":64,\"in_flight\":0},"));
}

static void
test_daemon_commands(void **state)
{
	(void)state;
	assert_int_equal(keyctl("--run-dir DIR log routerd error"), 0);
	assert_int_equal(keyctl("--run-dir DIR metrics routerd"), 0);
	assert_memory_equal(got.out, "# ", 2);
	assert_non_null(strstr(got.out, "\ntf_router_workers "));
	assert_null(strstr(got.out, "tf_gateway_"));
	/* of all: one text, in which each name stands once, and whose each sample is */
	assert_int_equal(keyctl("--run-dir DIR metrics"), CTL_UNREACHABLE);
	assert_non_null(strstr(got.err, "gatewayd.ctl: No such file"));
	assert_non_null(strstr(got.out, "\ntf_router_workers{daemon=\"routerd\"} "));
	assert_non_null(strstr(got.out, "\ntf_wire_peers{daemon=\"routerd\"} "));
	assert_non_null(strstr(got.out, "\ntf_wire_peers{daemon=\"billingd\"} "));
	assert_null(strstr(strstr(got.out, "# TYPE tf_wire_peers gauge") + 1, "# TYPE tf_wire_peers gauge"));
	assert_null(strstr(got.out, "{daemon=\"routerd\"},"));
	assert_int_equal(keyctl("--run-dir DIR config show --daemon routerd"), CTL_FAILED);
	assert_string_equal(got.err, "keyctl: this daemon has no configuration\n");
}

/* ---- the file ----------------------------------------------------------------------------- */

static const char *
conf_file(const char *text)
{
	static char path[128];
	FILE *f;

	snprintf(path, sizeof path, "%s/t.conf", bed_dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	return path;
}

static void
test_config(void **state)
{
	char line[512], want[512], text[256];
	const char *path;

	(void)state;
	snprintf(text, sizeof text, "[common]\nrun-dir = %s\n[gatewayd]\nname = front\n", bed_dir);
	path = conf_file(text);
	snprintf(line, sizeof line, "-c %s config check", path);
	snprintf(want, sizeof want, "%s: fine\n", path);
	assert_int_equal(keyctl(line), 0);
	assert_string_equal(got.out, want);
	snprintf(line, sizeof line, "--config=%s config show --set --json", path);
	snprintf(want, sizeof want,
	    "[\n{\"section\":\"common\",\"key\":\"run-dir\",\"value\":\"%s\",\"source\":\"%s:2\","
	    "\"applies\":\"restart\"},\n"
	    "{\"section\":\"gatewayd\",\"key\":\"name\",\"value\":\"front\",\"source\":\"%s:4\","
	    "\"applies\":\"restart\"}\n]\n",
	    bed_dir, path, path);
	assert_int_equal(keyctl(line), 0);
	assert_string_equal(got.out, want);
	snprintf(line, sizeof line, "-c %s config show", path);
	assert_int_equal(keyctl(line), 0);
	assert_memory_equal(got.out, "SECTION ", 8);
	assert_non_null(strstr(got.out, "\ngatewayd          body-max "));
	/* the sockets are found through the file; the gateway goes by the name it has there */
	snprintf(line, sizeof line, "-c %s status", path);
	assert_int_equal(keyctl(line), CTL_UNREACHABLE);
	assert_memory_equal(strchr(got.out, '\n'), "\nfront ", 7);
	assert_non_null(strstr(got.out, "\nbillingd  billingd  up "));

	conf_file("[model a/b]\naliases = x, y*\nprice-input = 0.15\ncontext = 4096\n[model c]\nprice-input = 0\n"
		  "[worker w]\nurl = http://h\nmodels = c=d\n");
	snprintf(line, sizeof line, "-c %s model list", path);
	assert_int_equal(keyctl(line), 0);
	assert_string_equal(got.out,
	    "ID   STATUS  MODALITY  CONTEXT  INPUT  ALIASES  WORKERS\n"
	    "a/b  live    text         4096   0.15  x,y*     -\n"
	    "c    live    text            -      0  -        w\n");
	snprintf(line, sizeof line, "-c %s model list --json", path);
	assert_int_equal(keyctl(line), 0);
	assert_int_equal(js_valid(tf_cspan(got.out)), 0);
	assert_non_null(strstr(got.out, "\"currency\":\"USD\",\"price_input\":\"0\",\"price_cached_input\":null"));

	conf_file("[gatewayd]\nthreads = 0\nx = 1\n");
	snprintf(line, sizeof line, "-c %s config check", path);
	assert_int_equal(keyctl(line), CTL_FAILED);
	snprintf(want, sizeof want,
	    "%s:3: [gatewayd] x: unknown key\n%s:2: [gatewayd] threads: 0 is out of range: 1 to 64\n",
	    path, path);
	assert_string_equal(got.err, want);
	snprintf(line, sizeof line, "-c %s config check --json", path);
	assert_int_equal(keyctl(line), CTL_FAILED);
	assert_int_equal(js_valid(tf_cspan(got.out)), 0);
	assert_string_equal(got.err, "");
	snprintf(line, sizeof line, "-c %s workspace list", path);
	assert_int_equal(keyctl(line), CTL_FAILED);
	unlink(path);
}

/* --run-dir, then -c, then the environment. */
static void
test_run_dir(void **state)
{
	(void)state;
	script(WS, NULL);
	setenv("TOKENFACTORY_RUN_DIR", bed_dir, 1);
	assert_int_equal(keyctl("workspace list"), 0);
	setenv("TOKENFACTORY_RUN_DIR", "/nonexistent", 1);
	assert_int_equal(keyctl("workspace list"), CTL_UNREACHABLE);
	assert_int_equal(keyctl("workspace list --run-dir DIR"), 0);
	assert_int_equal(keyctl("workspace list -c /nonexistent/x"), CTL_FAILED);
	unsetenv("TOKENFACTORY_RUN_DIR");
}

static void
test_help(void **state)
{
	const struct kc_line *c, *l;

	(void)state;
	assert_int_equal(keyctl("--help"), 0);
	KC_EACH_CMD(c) {
		assert_non_null(strstr(got.out, c->name));
		assert_non_null(strstr(got.out, c->help));
	}
	assert_int_equal(keyctl("key mint --help"), 0);
	assert_memory_equal(got.out, "usage: keyctl key mint [--budget AMOUNT] [--conc", 46);
	KC_EACH(kc_table, l)
		assert_true(l->kind != KC_CMD);
	assert_int_equal(keyctl("-V"), 0);
	assert_string_equal(got.out, "keyctl (Token Factory) " PACKAGE_VERSION "\n");
	assert_int_equal(keyctl("rubbish --help"), CTL_USAGE);
}

/* The shipped completion is the one that this keyctl prints. */
static void
test_completion(void **state)
{
	const char *top = getenv("top_srcdir");
	char path[1024], *shipped;
	FILE *f;
	size_t n;

	(void)state;
	snprintf(path, sizeof path, "%s/packaging/bash-completion/keyctl", top != NULL ? top : ".");
	f = fopen(path, "r");
	assert_non_null(f);
	shipped = calloc(1, 65536);
	assert_non_null(shipped);
	n = fread(shipped, 1, 65535, f);
	fclose(f);
	assert_true(n > 0);
	assert_int_equal(keyctl("--completion bash"), 0);
	assert_string_equal(got.out, shipped);
	free(shipped);
	assert_int_equal(keyctl("--completion fish"), CTL_USAGE);
}

/* A reader that is gone is a failure. */
static void
test_full(void **state)
{
	char *argv[] = { (char[]){ "keyctl" }, (char[]){ "--help" }, NULL };
	FILE *full = fopen("/dev/full", "w"), *err = fopen("/dev/null", "w");

	(void)state;
	assert_non_null(full);
	assert_int_equal(kc_main(2, argv, full, err), CTL_FAILED);
	fclose(full);
	fclose(err);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_key),
		cmocka_unit_test(test_status_codes),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_daemon_commands),
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_run_dir),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_completion),
		cmocka_unit_test(test_full),
	};

	unsetenv("TOKENFACTORY_RUN_DIR");
	return cmocka_run_group_tests(tests, bed_setup, bed_teardown);
}
