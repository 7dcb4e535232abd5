/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The error table, from err.def. Says what a code means to a caller; which code
 * fits is for those who meet the fault.
 */
#include "config.h"

#include "common/base/base.h"

static const struct tf_err_row rows[TF_E_COUNT] = {
#define ERR(sym, http_, otype, code_, atype, retry_, level_, sentence_) \
	[TF_E_##sym] = { \
		.err = TF_E_##sym, \
		.http = http_, \
		.openai_type = otype, \
		.code = code_, \
		.anthropic_type = atype, \
		.retry = retry_, \
		.level = level_, \
		.sentence = sentence_, \
	},
#include "common/base/err.def"
#undef ERR
};

const struct tf_err_row *
tf_err_row(int err)
{
	if (err <= TF_E_FIRST || err >= TF_E_COUNT)
		err = TF_E_SERVER_ERROR;
	return &rows[err];
}

const struct tf_err_row *
tf_err_by_code(const char *code)
{
	for (int i = TF_E_FIRST + 1; i < TF_E_COUNT; i++)
		if (strcmp(rows[i].code, code) == 0)
			return &rows[i];
	return NULL;
}

const char *
tf_err_text(int err)
{
	if (err > TF_E_FIRST && err < TF_E_COUNT)
		return rows[err].code;
	switch (err) {
	case TF_OK:
		return "ok";
	case TF_E_NOMEM:
		return "out of memory";
	case TF_E_INVAL:
		return "invalid";
	case TF_E_RANGE:
		return "out of range";
	case TF_E_NOENT:
		return "not found";
	case TF_E_EXIST:
		return "exists already";
	case TF_E_FULL:
		return "full";
	case TF_E_AGAIN:
		return "not now";
	case TF_E_CLOSED:
		return "closed";
	case TF_E_PROTO:
		return "protocol broken";
	case TF_E_IO:
		return "system error";
	case TF_E_STATE:
		return "wrong state";
	default:
		return "unknown error";
	}
}
