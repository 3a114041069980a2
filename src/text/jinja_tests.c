/* jinja_tests.c - "x is TEST". */
#include <math.h>
#include <string.h>

#include "text/jinja.h"

#define TYPE_TEST(name, condition)                              \
    static bool name(struct render *r, struct jinja_value *out, \
                     const struct jinja_value *self,            \
                     const struct jinja_value *const *arg)      \
    {                                                           \
        (void)r;                                                \
        (void)arg;                                              \
        *out = jinja_bool(condition);                           \
        return true;                                            \
    }

static bool is_sequence(const struct jinja_value *v)
{
    return v->type == J_UNDEF || v->type == J_STR || v->type == J_RANGE ||
           v->type == J_DICT || (v->type == J_LIST && v->l->kind <= JL_TUPLE);
}

static bool is_iterable(const struct jinja_value *v)
{
    return is_sequence(v) || v->type == J_LIST || v->type == J_LOOP;
}

TYPE_TEST(test_defined, self->type != J_UNDEF)
TYPE_TEST(test_undefined, self->type == J_UNDEF)
TYPE_TEST(test_none, self->type == J_NONE)
TYPE_TEST(test_boolean, self->type == J_BOOL)
TYPE_TEST(test_true, self->type == J_BOOL && self->b)
TYPE_TEST(test_false, self->type == J_BOOL && !self->b)
TYPE_TEST(test_integer, self->type == J_INT)
TYPE_TEST(test_float, self->type == J_FLOAT)
TYPE_TEST(test_number, self->type >= J_BOOL && self->type <= J_FLOAT)
TYPE_TEST(test_string, self->type == J_STR)
TYPE_TEST(test_mapping, self->type == J_DICT)
TYPE_TEST(test_sequence, is_sequence(self))
TYPE_TEST(test_iterable, is_iterable(self))
TYPE_TEST(test_callable, self->type >= J_LOOP || self->type == J_UNDEF)

static bool test_by_op(struct render *r, struct jinja_value *out, enum jinja_op op,
                       const struct jinja_value *a, const struct jinja_value *b)
{
    bool hit;
    if (!jinja_compare(r, op, a, b, &hit))
        return false;
    *out = jinja_bool(hit);
    return true;
}

#define COMPARE_TEST(name, op)                                  \
    static bool name(struct render *r, struct jinja_value *out, \
                     const struct jinja_value *self,            \
                     const struct jinja_value *const *arg)      \
    {                                                           \
        return test_by_op(r, out, op, self, arg[0]);            \
    }
COMPARE_TEST(test_eq, JO_EQ)
COMPARE_TEST(test_ne, JO_NE)
COMPARE_TEST(test_lt, JO_LT)
COMPARE_TEST(test_le, JO_LE)
COMPARE_TEST(test_gt, JO_GT)
COMPARE_TEST(test_ge, JO_GE)
COMPARE_TEST(test_in, JO_IN)

static bool test_modulo(struct render *r, struct jinja_value *out,
                        const struct jinja_value *v, const struct jinja_value *by,
                        int64_t rest)
{
    const struct jinja_value want = jinja_int(rest);
    struct jinja_value m;
    return jinja_binary(r, JO_MOD, &m, v, by) && test_by_op(r, out, JO_EQ, &m, &want);
}

static bool test_odd(struct render *r, struct jinja_value *out,
                     const struct jinja_value *self, const struct jinja_value *const *arg)
{
    const struct jinja_value two = jinja_int(2);
    (void)arg;
    return test_modulo(r, out, self, &two, 1);
}

static bool test_even(struct render *r, struct jinja_value *out,
                      const struct jinja_value *self,
                      const struct jinja_value *const *arg)
{
    const struct jinja_value two = jinja_int(2);
    (void)arg;
    return test_modulo(r, out, self, &two, 0);
}

static bool test_divisibleby(struct render *r, struct jinja_value *out,
                             const struct jinja_value *self,
                             const struct jinja_value *const *arg)
{
    return test_modulo(r, out, self, arg[0], 0);
}

/* `is`: the same object; equal None, booleans and small values are one. */
static bool test_sameas(struct render *r, struct jinja_value *out,
                        const struct jinja_value *self,
                        const struct jinja_value *const *arg)
{
    bool same = self->type == arg[0]->type;
    (void)r;
    if (same && self->type == J_BOOL)
        same = self->b == arg[0]->b;
    else if (same && self->type == J_INT)
        same = self->i == arg[0]->i;
    else if (same && self->type != J_NONE)
        same = self->d == arg[0]->d;
    *out = jinja_bool(same);
    return true;
}

static bool test_filter(struct render *r, struct jinja_value *out,
                        const struct jinja_value *self,
                        const struct jinja_value *const *arg)
{
    (void)r;
    (void)arg;
    *out = jinja_bool(self->type == J_STR && jinja_filter_find(self->s->s, self->s->n));
    return true;
}

static bool test_test(struct render *r, struct jinja_value *out,
                      const struct jinja_value *self,
                      const struct jinja_value *const *arg)
{
    (void)r;
    (void)arg;
    *out = jinja_bool(self->type == J_STR && jinja_test_find(self->s->s, self->s->n));
    return true;
}

static const struct jinja_func tests[] = {
    {"defined", "", test_defined, NULL, 0},
    {"undefined", "", test_undefined, NULL, 0},
    {"none", "", test_none, NULL, 0},
    {"boolean", "", test_boolean, NULL, 0},
    {"true", "", test_true, NULL, 0},
    {"false", "", test_false, NULL, 0},
    {"integer", "", test_integer, NULL, 0},
    {"float", "", test_float, NULL, 0},
    {"number", "", test_number, NULL, 0},
    {"string", "", test_string, NULL, 0},
    {"mapping", "", test_mapping, NULL, 0},
    {"sequence", "", test_sequence, NULL, 0},
    {"iterable", "", test_iterable, NULL, 0},
    {"callable", "", test_callable, NULL, 0},
    {"upper", "", jinja_str_isupper, NULL, 0},
    {"lower", "", jinja_str_islower, NULL, 0},
    {"odd", "", test_odd, NULL, 0},
    {"even", "", test_even, NULL, 0},
    {"divisibleby", "num", test_divisibleby, NULL, 0},
    {"sameas", "other", test_sameas, NULL, 0},
    {"filter", "", test_filter, NULL, 0},
    {"test", "", test_test, NULL, 0},
    {"eq", "other", test_eq, NULL, 0},
    {"equalto", "other", test_eq, NULL, 0},
    {"==", "other", test_eq, NULL, 0},
    {"ne", "other", test_ne, NULL, 0},
    {"!=", "other", test_ne, NULL, 0},
    {"lt", "other", test_lt, NULL, 0},
    {"lessthan", "other", test_lt, NULL, 0},
    {"<", "other", test_lt, NULL, 0},
    {"le", "other", test_le, NULL, 0},
    {"<=", "other", test_le, NULL, 0},
    {"gt", "other", test_gt, NULL, 0},
    {"greaterthan", "other", test_gt, NULL, 0},
    {">", "other", test_gt, NULL, 0},
    {"ge", "other", test_ge, NULL, 0},
    {">=", "other", test_ge, NULL, 0},
    {"in", "seq", test_in, NULL, 0},
};

const struct jinja_func *jinja_test_find(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (strlen(tests[i].name) == n && !memcmp(tests[i].name, name, n))
            return &tests[i];
    return NULL;
}
