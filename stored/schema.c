/* SPDX-License-Identifier: Apache-2.0 */
/* What is stored's own in its store: migrations, statements, and who carries out an operation. */
#include "config.h"

#include "stored/sqlite.h"

static const struct db_migration migrations[] = {
#include "sql/stored_migrations.h"
};

static const struct db_stmt stmts[] = {
#define STMT(sym, text) { text, false },
#define STMT_SCANS(sym, text) { text, true },
#include "stored/stmt.def"
#undef STMT
#undef STMT_SCANS
};

static int
run(struct db_lane *lane, struct db_op *op)
{
	switch (op->kind) {
	case ST_OP_PUT:
		return st_op_put(lane, op->arg);
	case ST_OP_GET:
		return st_op_get(lane, op->arg);
	case ST_OP_DROP:
		return st_op_drop(lane, op->arg);
	case ST_OP_EXPIRE:
		return st_op_expire(lane, op->arg);
	case ST_OP_SWEEP:
		return st_op_sweep(lane, op->arg);
	case ST_OP_CLAIM:
		return st_op_claim(lane, op->arg);
	case ST_OP_RELEASE:
		return st_op_release(lane, op->arg);
	case ST_OP_BACKUP:
		return st_op_backup(lane, op->arg);
	case ST_OP_TOTALS:
		return st_op_totals(lane, op->arg);
	default:
		return TF_E_INVAL;
	}
}

const struct db_schema st_schema = {
	.owner = "stored", .application_id = 0x54465331 /* "TFS1" */,
	.migrations = migrations, .n_migrations = TF_LEN(migrations), .stmts = stmts, .n_stmts = TF_LEN(stmts),
	/* what was deleted is not to be read out of the file */
	.pragmas = "PRAGMA secure_delete = ON",
	.user_size = sizeof(struct st_files), .run = run, .settled = st_files_settled, .fini = st_files_fini,
};

int
st_sqlite_open(const char *path, void (*wake)(void *arg), void *wake_arg, struct db_store **out, char *why, size_t size)
{
	struct db_file file = { path, &st_schema, wake, wake_arg };

	return db_sqlite_open(&file, out, why, size);
}
