/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the spool share among themselves: how its files come into being. */
#ifndef SP_INSIDE_H
#define SP_INSIDE_H

#include <sys/stat.h>

#include "common/spool/spool.h"

struct sp_named {
	const char *name;
	uint64_t boot;
	uint32_t number; /* of the segment; 0: the map */
};
struct sp_made { /* a file that has its locked fd and still its name of birth */
	int fd;
	char born[SP_PATH_MAX], path[SP_PATH_MAX];
};
/* Makes, locks and preallocates it. TF_E_FULL: no room; TF_E_IO, TF_E_EXIST, TF_E_RANGE (path too long). */
int sp_make(const char *dir, const struct sp_named *n, uint64_t size, struct sp_made *out) TF_MUSTCHECK;
/* It is whole: gives it its name. */
int sp_made_name(struct sp_made *m) TF_MUSTCHECK;
void sp_unmake(struct sp_made *m); /* closes and removes it */
/* Renames path to what it is with its suffix replaced. */
void sp_rename(const char *path, const char *suffix);
/* A segment of which nothing is needed any more: .done, without its unused room; gone when it holds nothing. */
void sp_spent(const char *path, int fd, uint64_t tail);
bool sp_has_suffix(const char *name, const char *suffix);
void sp_map_remove(struct sp_map *m); /* the file; the map stays open */

/* Files whose names end so; fn returns 0 to go on. TF_E_IO: no such directory; else what fn returned. */
int sp_each_file(const char *dir, const char *suffix, int (*fn)(void *arg, const char *path, const struct stat *st), void *arg);
/* As sp_head_read; TF_E_NOENT, TF_E_IO. */
int sp_path_head(const char *path, struct sp_head *out) TF_MUSTCHECK;

#endif
