/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of the spool: a folder of its own for each, and the steps of one who writes into it. */
#ifndef TESTS_SPOOL_BED_H
#define TESTS_SPOOL_BED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/spool/spool.h"

#define BOOT UINT64_C(0x1122334455667788)
#define END_MAX 200 /* bytes of a payload of end() */

extern char dir[64]; /* of the test that runs */
/* Of a test: makes the folder, takes it away with all that is in it. */
int bed_setup(void **state);
int bed_teardown(void **state);

struct tf_id id_of(unsigned n);
/* The writer gatewayd.0 of BOOT. */
void open_writer(struct sp_writer *w, uint32_t slots, uint32_t segment);
/* The first attempt at request n begins, with the payload "begin N". As sp_writer_begin(). */
int begin(struct sp_writer *w, struct sp_open *o, unsigned n);
/* It ends, with "end N". Returns the number of the record. */
uint64_t end(struct sp_writer *w, struct sp_open *o, unsigned n);
/* A segment, if the writer wants one. */
void give_next(struct sp_writer *w);
/* How many files there are with that suffix. */
size_t count(const char *suffix);
/* Path of the only one. */
void find(const char *suffix, char path[static 400]);

#endif
