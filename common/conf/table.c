/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of conf.def as data: nothing is written twice. */
#include "config.h"

#include "common/conf/inside.h"

#define CONF_BEGIN(section, many, about)
#define CONF(section, field, type, def, min, max, flags, help) \
	{ #field, CONF_##type, def, min, max, flags, help, offsetof(struct conf_##section, field) },
#define CONF_END(section)
const struct cf_option cf_options[CF_OPTIONS] = {
#include "common/conf/conf.def"
};
#undef CONF_BEGIN
#undef CONF
#undef CONF_END

#define IS_ONE(section) false
#define IS_MANY(section) true
#define COUNT_ONE(section) 0
#define COUNT_MANY(section) offsetof(struct conf, section##_n)
#define CONF_BEGIN(section, many, about) \
	{ #section, IS_##many(section), about, CF_FIRST_##section, CF_END_##section - CF_FIRST_##section, \
	  sizeof(struct conf_##section), offsetof(struct conf, section), COUNT_##many(section) },
#define CONF(section, field, type, def, min, max, flags, help)
#define CONF_END(section)
const struct cf_section cf_sections[CF_SECTIONS] = {
#include "common/conf/conf.def"
};
#undef CONF_BEGIN
#undef CONF
#undef CONF_END

bool
cf_key_is(const char *field, struct tf_span key)
{
	size_t i;

	for (i = 0; i < key.n && field[i] != '\0'; i++)
		if ((field[i] == '_' ? '-' : field[i]) != key.p[i])
			return false;
	return i == key.n && field[i] == '\0';
}
