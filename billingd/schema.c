/* SPDX-License-Identifier: Apache-2.0 */
/* What is billingd's own in its store: migrations, statements, and who carries out an operation. */
#include "config.h"

#include "billingd/sqlite.h"

static const struct db_migration migrations[] = {
#include "sql/billing_migrations.h"
};

static const struct db_stmt stmts[] = {
#define STMT(sym, text) { text, false },
#define STMT_SCANS(sym, text) { text, true },
#include "billingd/stmt.def"
#undef STMT
#undef STMT_SCANS
};

const char *
bl_stmt_text(enum bl_stmt s)
{
	return stmts[s].text;
}

bool
bl_stmt_scans(enum bl_stmt s)
{
	return stmts[s].scans;
}

static void
days_free(void *user)
{
	struct bl_gathered *g = user;

	tf_map_free(&g->days);
	tf_map_free(&g->windows);
	tf_map_free(&g->purses);
}

const struct db_schema bl_schema = {
	.owner = "billingd", .application_id = 0x54464231 /* "TFB1" */,
	.migrations = migrations, .n_migrations = TF_LEN(migrations), .stmts = stmts, .n_stmts = TF_LEN(stmts),
	.functions = bl_sums_functions, .user_size = sizeof(struct bl_gathered), .run = bl_op_run, .run_some = bl_op_usages,
	.flush = bl_days_flush, .drop = bl_days_drop, .fini = days_free,
};

int
bl_sqlite_open(const char *path, void (*wake)(void *arg), void *wake_arg, struct db_store **out, char *why, size_t size)
{
	struct db_file file = { path, &bl_schema, wake, wake_arg };

	return db_sqlite_open(&file, out, why, size);
}
