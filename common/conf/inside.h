/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of common/conf share and nobody else includes: the option rows made
 * from conf.def, the named sections as they were read, and the state of one load.
 */
#ifndef TF_CONF_INSIDE_H
#define TF_CONF_INSIDE_H

#include "common/conf/conf.h"

#define CF_LINE_MAX 65536   /* longest line of the file, bytes */
#define CF_FILE_MAX (8u << 20)
#define CF_FILES_MAX 256    /* conf.d files */
#define CF_SECTIONS_MAX 8192 /* named sections in all */
#define CF_NAME_MAX 64      /* instance and plan names */
#define CF_MODEL_MAX 128    /* model ids and aliases */
#define CF_WHY 256          /* room for a reason */

/* ---- the table ---------------------------------------------------------------------------- */

enum cf_section_id {
#define CONF_BEGIN(section, many, about) CF_##section,
#define CONF(section, field, type, def, min, max, flags, help)
#define CONF_END(section)
#include "common/conf/conf.def"
#undef CONF_BEGIN
#undef CONF
#undef CONF_END
	CF_SECTIONS
};

/* CF_worker_url is the row of url in cf_options; CF_FIRST_worker is that section's first one. */
enum cf_option_id {
#define CONF_BEGIN(section, many, about) CF_FIRST_##section, CF_BEFORE_##section = CF_FIRST_##section - 1,
#define CONF(section, field, type, def, min, max, flags, help) CF_##section##_##field,
#define CONF_END(section) CF_END_##section, CF_LAST_##section = CF_END_##section - 1,
#include "common/conf/conf.def"
#undef CONF_BEGIN
#undef CONF
#undef CONF_END
	CF_OPTIONS
};

struct cf_option {
	const char *field;
	enum conf_type type;
	const char *def, *min, *max;
	unsigned flags; /* enum conf_flag */
	const char *help;
	size_t offset;  /* in the section's struct */
};
struct cf_section {
	const char *name;
	bool many;
	const char *about;
	size_t first, n; /* rows in cf_options */
	size_t size;     /* of the section's struct */
	size_t offset;   /* in struct conf: of the struct, or of the pointer to the array */
	size_t offset_n; /* MANY: of the count */
};
extern const struct cf_option cf_options[CF_OPTIONS];
extern const struct cf_section cf_sections[CF_SECTIONS];

/* Is key the file's spelling of field? */
bool cf_key_is(const char *field, struct tf_span key);

/* ---- one load ----------------------------------------------------------------------------- */

/* Where the value of one option comes from. text NULL: the default. */
struct cf_source {
	const char *text;
	const char *file; /* NULL: built in */
	unsigned line;
};

/* One section as read: [gatewayd], [model x]. */
struct cf_inst {
	enum cf_section_id section;
	const char *name;  /* NULL for sections that exist once */
	const char *title; /* "gatewayd", "model x" */
	const char *file;  /* of its first header; NULL: built in or not written */
	unsigned line;
	struct cf_source *source; /* one for each option of the section */
	void *values;             /* its struct conf_SECTION */
	struct cf_inst *next;
};

struct cf_name { /* an id, an alias or a folded one */
	struct tf_span key;
	const struct conf_model *model; /* NULL: several fit */
};
struct cf_pattern { /* an alias that ends in '*', without it */
	struct tf_span prefix;
	const struct conf_model *model;
};

struct cf_names { /* what clients of one API may say */
	struct tf_map exact;         /* struct cf_name */
	struct tf_map folded;        /* lower case: struct cf_name */
	struct cf_pattern *patterns; /* longest first */
	size_t npatterns;
};

struct conf_index {
	struct cf_chunk *chunks; /* all memory of the conf */
	struct cf_inst *first, *last;
	size_t n; /* instances */
	const char *keys[CF_OPTIONS];     /* fields as the file spells them */
	struct tf_map titles;             /* of struct cf_inst */
	struct tf_map plans, workers;     /* of structs in conf->plan, conf->worker; by cf_named */
	struct cf_names names[CONF_SIDES];
};

struct cf_load {
	struct conf *conf;
	struct conf_index *index;
	struct conf_errors *errors;
	bool failed; /* an error was added */
	bool nomem;  /* an allocation failed; checked at the end of each phase */
};

/* Zeroed memory that lives as long as the conf; NULL without memory (nomem is set). */
void *cf_alloc(struct cf_load *l, size_t n);
char *cf_dup(struct cf_load *l, struct tf_span s);

/* Adds "file:line: [title] key: reason". file, title, key may be NULL. */
void cf_error(struct cf_load *l, const char *file, unsigned line, const char *title, const char *key, const char *fmt,
	      ...) TF_PRINTF(6, 7);
/* The same at the place where this option is set, else where its section begins. */
void cf_error_at(struct cf_load *l, const struct cf_inst *i, enum cf_option_id option, const char *fmt, ...)
    TF_PRINTF(4, 5);

/* read.c: lines of one text -> instances and sources. */
void cf_read(struct cf_load *l, const char *file, struct tf_span text);
/* Finds or adds the instance; NULL without memory or with too many. */
struct cf_inst *cf_instance(struct cf_load *l, enum cf_section_id section, struct tf_span name);

/* value.c: text -> C value. 0, TF_E_INVAL with the reason in why (CF_WHY bytes), TF_E_NOMEM. */
int cf_value(struct cf_load *l, const struct cf_option *o, const char *text, void *dest, char *why);
/* An amount of money, in nano-units. TF_E_INVAL: it is none. */
/* image.c: NULL when entry has the form of price-image-sizes, else what is wrong. */
const char *cf_image_size_fault(const char *entry);
/* Do two entries speak of the same images? */
bool cf_image_size_same(const char *a, const char *b);
/* Are the two values of this type the same? */
bool cf_value_same(enum conf_type type, const void *a, const void *b);

/* check.c: what holds between options. Also fills the look-up tables. */
void cf_check(struct cf_load *l);
/* find.c: the model names. Says duplicates. */
void cf_index_models(struct cf_load *l);
bool cf_instance_name_ok(struct tf_span name);
bool cf_model_name_ok(struct tf_span name);

#endif
