/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over its committed corpus: every file of
 * tests/fuzz/corpus/NAME, where NAME follows "fuzz_" in the program's name, and
 * every proper prefix of the small ones, so that cuts are tried without a fuzzer.
 */
#include "config.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define PREFIX_MAX 512

static int
replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data;
	long n;

	if (f == NULL)
		return -1;
	fseek(f, 0, SEEK_END);
	n = ftell(f);
	rewind(f);
	data = malloc(n > 0 ? (size_t)n : 1);
	if (data == NULL || n < 0 || fread(data, 1, (size_t)n, f) != (size_t)n) {
		fclose(f);
		free(data);
		return -1;
	}
	fclose(f);
	LLVMFuzzerTestOneInput(data, (size_t)n);
	for (long k = 0; k < n && n <= PREFIX_MAX; k++) {
		/* its own allocation, so that a sanitizer sees one byte too many */
		uint8_t *cut = malloc(k > 0 ? (size_t)k : 1);

		if (cut == NULL)
			break;
		memcpy(cut, data, (size_t)k);
		LLVMFuzzerTestOneInput(cut, (size_t)k);
		free(cut);
	}
	free(data);
	return 0;
}

int
main(int argc, char **argv)
{
	const char *top = getenv("top_srcdir"), *name = strstr(argv[0], "fuzz_");
	char dir[2048], path[4096];
	struct dirent *e;
	int files = 0;
	DIR *d;

	if (argc > 1) {
		for (int i = 1; i < argc; i++)
			if (replay_file(argv[i]) != 0)
				return 1;
		return 0;
	}
	for (const char *p = argv[0]; (p = strstr(p, "fuzz_")) != NULL; p++)
		name = p;
	if (name == NULL)
		return 99;
	snprintf(dir, sizeof dir, "%s/tests/fuzz/corpus/%s", top ? top : ".", name + 5);
	d = opendir(dir);
	if (d == NULL) {
		fprintf(stderr, "no corpus %s\n", dir);
		return 99;
	}
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
		if (replay_file(path) != 0) {
			fprintf(stderr, "cannot read %s\n", path);
			return 1;
		}
		files++;
	}
	closedir(d);
	printf("%s: %d files\n", name, files);
	return files > 0 ? 0 : 99;
}
