/* SPDX-License-Identifier: Apache-2.0 */
/* keyctl in this process, and scripted daemons that it talks to. */
#ifndef TESTS_KEYCTL_BED_H
#define TESTS_KEYCTL_BED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "keyctl/kc.h"

#define WS \
	"{\"id\":\"01ABC\",\"name\":\"main\",\"plan\":\"test\",\"created\":1700000000,\"keys\":2}"
#define KEYROW "{\"id\":\"01K\",\"key\":\"tf-prod-secret\",\"name\":null}"

extern char bed_dir[];       /* of the sockets */
extern char bed_asked[2048]; /* words and arguments of the last request */

/* What the last keyctl() wrote. */
struct bed_got {
	char *out, *err;
	size_t nout, nerr;
};
extern struct bed_got got;

/* The rows that the daemons answer from now on, JSON objects; NULL: none. */
void script(const char *row0, const char *row1);
/* What they fail with from now on. */
void refuse(enum ctl_err err, const char *message);
/* keyctl with these words, one blank between two; DIR stands for bed_dir. Returns its exit status. */
int keyctl(const char *line);

/* Of the group of tests. */
int bed_setup(void **state);
int bed_teardown(void **state);

#endif
