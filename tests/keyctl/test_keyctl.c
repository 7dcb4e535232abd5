/* SPDX-License-Identifier: Apache-2.0 */
/* keyctl from its command line to the request that a daemon gets; from rows to what is printed: test_output.c. */
#include "config.h"

#include "tests/keyctl/bed.h"

/* What each command line sends. */
static void
test_requests(void **state)
{
	static const struct {
		const char *line, *asked, *row;
	} cases[] = {
		{ "workspace create main", " name=main", WS },
		{ "workspace create --plan=token-pro main", " name=main plan=token-pro", WS },
		{ "workspace list", "", WS },
		{ "workspace show main", " workspace=main", WS },
		{ "workspace set-plan main token-max", " plan=token-max workspace=main", WS },
		{ "key list", "", NULL },
		{ "key list --workspace main", " workspace=main", NULL },
		{ "key mint --workspace main", " workspace=main", KEYROW },
		{ "key mint --workspace=main --name ci --form sk-oais --env dev --model a/b --model c/d",
		    " env=dev form=sk-oais model=<a/b><c/d> name=ci workspace=main", KEYROW },
		{ "key mint --workspace main --expires 2100-01-02T03:04:05+02:00",
		    " expires=4102535045 workspace=main", KEYROW },
		{ "key mint --workspace main --expires 2100-01-01",
		    " expires=4102444800 workspace=main", KEYROW },
		{ "key show 01K", " key=01K", "{\"id\":\"01K\"}" },
		{ "key revoke 01K", " key=01K", "{\"id\":\"01K\"}" },
		{ "key revoke --prefix tf-prod-Ab3 --all", " all=1 prefix=tf-prod-Ab3", NULL },
		{ "key mint --workspace main --rpm 5 --tpm none --budget 0.5 --scope usage:read --network 10.0.0.0/8 "
		  "--expires none",
		    " budget=0.5 expires=0 network=<10.0.0.0/8> rpm=5 scope=<usage:read> tpm=none workspace=main", KEYROW },
		{ "key limit 01K --concurrency 2 --endpoint chat --endpoint embeddings --model none",
		    " concurrency=2 endpoint=<chat><embeddings> key=01K model=<none>", WS },
		{ "workspace cap main --tokens 5 --audio-seconds none", " audio_seconds=none tokens=5 workspace=main", WS },
		{ "workspace budget main 12.5", " budget=12.5 workspace=main", WS },
		{ "topup main --money -3 --tokens=7 --note x", " money=-3 note=x tokens=7 workspace=main", WS },
		{ "deployment start main --model a/b --gpus 2 --price 2.5", " gpus=2 model=a/b price=2.5 workspace=main", WS },
		{ "deployment stop 01K", " deployment=01K", WS },
		{ "deployment list", "", NULL },
		{ "topup list --workspace main", " workspace=main", NULL },
		{ "user add ann@example.com --full-name Ann", " full_name=Ann name=ann@example.com", WS },
		{ "user list", "", NULL },
		{ "user remove ann@example.com", " user=ann@example.com", WS },
		{ "member add main ann@example.com --role owner",
		    " role=owner user=ann@example.com workspace=main", WS },
		{ "member role main ann@example.com viewer",
		    " role=viewer user=ann@example.com workspace=main", WS },
		{ "member remove main ann@example.com", " user=ann@example.com workspace=main", WS },
		{ "member list --user ann@example.com", " user=ann@example.com", NULL },
		{ "audit --since 2026-01-31 --limit 5 --before 17 --action key",
		    " action=key before=17 limit=5 since=1769817600", NULL },
		{ "key rotate 01K --grace 1h", " grace=3600 key=01K", KEYROW },
		{ "key rotate --grace 0s -- -01K", " grace=0 key=-01K", KEYROW },
		{ "usage", "", "{\"requests\":1}" },
		{ "usage --workspace main --period day --by key",
		    " by=key period=day workspace=main", "{\"requests\":1}" },
		{ "plan list", "", NULL },
		{ "drain worker gpu-0", " worker=gpu-0", NULL },
	};
	char line[512];

	(void)state;
	for (size_t i = 0; i < TF_LEN(cases); i++) {
		script(cases[i].row, NULL);
		snprintf(line, sizeof line, "--run-dir DIR %s", cases[i].line);
		assert_int_equal(keyctl(line), 0);
		assert_string_equal(bed_asked, cases[i].asked);
	}
	script(KEYROW, NULL);
	assert_int_equal(keyctl("--run-dir DIR key mint --workspace main --expires 30d"), 0);
	assert_in_range(strtoll(strstr(bed_asked, "expires=") + 8, NULL, 10),
	    tf_wall_s() + 30 * 86400 - 60, tf_wall_s() + 30 * 86400 + 1);
}

static void
test_usage_errors(void **state)
{
	static const struct {
		const char *line, *err;
	} cases[] = {
		{ "", "keyctl: no command; see keyctl --help\n" },
		{ "rubbish", "keyctl: no command rubbish; see keyctl --help\n" },
		{ "workspace",
		    "keyctl: which? workspace budget, workspace cap, workspace create, "
		    "workspace list, workspace set-plan, workspace show\n" },
		{ "key forge",
		    "keyctl: which? key import, key limit, key list, key mint, key revoke, key rotate, key show\n" },
		{ "key mint",
		    "keyctl: key mint: --workspace is missing; see keyctl key mint --help\n" },
		{ "key show", "keyctl: key show: KEY-ID is missing; see keyctl key show --help\n" },
		{ "key show a b", "keyctl: key show: one argument too many: b\n" },
		{ "key list --nope", "keyctl: key list: unknown option --nope\n" },
		{ "key list -x", "keyctl: key list: unknown option -x\n" },
		{ "key list --workspace", "keyctl: --workspace needs a value: WORKSPACE\n" },
		{ "key list --workspace a --workspace b", "keyctl: --workspace is given twice\n" },
		{ "key list --workspace=", "keyctl: --workspace: \"\" is not a name\n" },
		{ "key mint --workspace a --form x", "keyctl: --form: \"x\" is not tf|sk-oais\n" },
		{ "key mint --workspace a --form tf|sk-oais",
		    "keyctl: --form: \"tf|sk-oais\" is not tf|sk-oais\n" },
		{ "key mint --workspace a --expires 2001-01-01",
		    "keyctl: --expires: \"2001-01-01\" is not in the future\n" },
		{ "key mint --workspace a --expires 2100-02-30",
		    "keyctl: --expires: \"2100-02-30\" is not a time, like 30d or 2030-01-31T00:00:00Z\n" },
		{ "key rotate k --grace soon",
		    "keyctl: --grace: \"soon\" is not a span of time, like 90s, 30m, 12h or 7d\n" },
		{ "config show --set=1", "keyctl: --set takes no value\n" },
		{ "log routerd loud", "keyctl: level: \"loud\" is not error|warn|info|debug\n" },
		{ "log ../x info", "keyctl: ../x: no name of a daemon\n" },
	};
	char line[512];

	(void)state;
	for (size_t i = 0; i < TF_LEN(cases); i++) {
		snprintf(line, sizeof line, "--run-dir DIR %s", cases[i].line);
		assert_int_equal(keyctl(line), CTL_USAGE);
		assert_string_equal(got.err, cases[i].err);
		assert_string_equal(got.out, "");
	}
}

static void
test_times(void **state)
{
	static const struct {
		const char *text;
		int64_t want; /* -1: refused */
	} dates[] = {
		{ "1970-01-01", 0 },
		{ "2000-02-29T00:00:00Z", 951782400 },
		{ "2000-02-29 00:00:00z", 951782400 },
		{ "2000-02-29T00:00:00-01:30", 951787800 },
		{ "2001-02-29", -1 },
		{ "2001-13-01", -1 },
		{ "2001-00-01", -1 },
		{ "2001-01-01T24:00:00Z", -1 },
		{ "2001-01-01T00:60:00Z", -1 },
		{ "2001-01-01T00:00:00", -1 },
		{ "2001-01-01T00:00:00Zx", -1 },
		{ "2001-1-1", -1 },
		{ "10s", 1010 },
		{ "2w", 1000 + 14 * 86400 },
		{ "36525d", 1000 + (int64_t)36525 * 86400 },
		{ "36526d", -1 },
		{ "5", -1 },
		{ "", -1 },
		{ "s", -1 },
		{ "-5s", -1 },
	};

	(void)state;
	for (size_t i = 0; i < TF_LEN(dates); i++) {
		int64_t v = -1;

		assert_int_equal(
		    kc_parse_until(dates[i].text, 1000, &v), dates[i].want < 0 ? TF_E_INVAL : 0);
		assert_int_equal(v, dates[i].want);
	}
	for (size_t i = 0; i < 2; i++) {
		int64_t v = -1;

		assert_int_equal(kc_parse_since(i == 0 ? "10s" : "2w", 1000, &v), 0);
		assert_int_equal(v, i == 0 ? 990 : 0);
	}
}

/* What no command line should hold: the first line of a file. */
static void
test_key_file(void **state)
{
	char path[128], line[256];
	FILE *f;

	(void)state;
	snprintf(path, sizeof path, "%s/key", bed_dir);
	f = fopen(path, "we");
	assert_non_null(f);
	fputs("sk-made-elsewhere\r\nand more\n", f);
	fclose(f);
	snprintf(line, sizeof line, "--run-dir DIR key import --workspace main --key-file %s", path);
	script(WS, NULL);
	assert_int_equal(keyctl(line), 0);
	assert_string_equal(bed_asked, " key_file=sk-made-elsewhere workspace=main");
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(keyctl(line), CTL_USAGE);
	assert_non_null(strstr(got.err, "holds no line"));
	unlink(path);
	assert_int_equal(keyctl(line), CTL_USAGE);
	assert_non_null(strstr(got.err, "No such file"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_usage_errors),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_key_file),
	};

	unsetenv("TOKENFACTORY_RUN_DIR");
	return cmocka_run_group_tests(tests, bed_setup, bed_teardown);
}
