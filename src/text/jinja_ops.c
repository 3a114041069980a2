/* jinja_ops.c - truth, equality, order and arithmetic, as Python has them. */
#include <math.h>
#include <string.h>

#include "text/jinja.h"

bool jinja_truth(const struct jinja_value *v)
{
    switch (v->type) {
    case J_UNDEF:
    case J_NONE:
        return false;
    case J_BOOL:
        return v->b;
    case J_INT:
        return v->i != 0;
    case J_FLOAT:
        return v->f != 0;
    case J_STR:
        return v->s->n > 0;
    case J_LIST:
        return v->l->n > 0 || v->l->kind == JL_GENERATOR;
    case J_DICT:
        return v->d->n > 0;
    case J_RANGE:
        return v->range->n > 0;
    default:
        return true;
    }
}

bool jinja_as_int(const struct jinja_value *v, int64_t *out)
{
    if (v->type == J_INT)
        *out = v->i;
    else if (v->type == J_BOOL)
        *out = v->b;
    return v->type == J_INT || v->type == J_BOOL;
}

bool jinja_number(const struct jinja_value *v, double *out)
{
    int64_t i;
    if (v->type == J_FLOAT)
        *out = v->f;
    else if (jinja_as_int(v, &i))
        *out = (double)i;
    else
        return false;
    return true;
}

/* -1, 0, 1; 2 if unordered (NaN).  Exact for an integer and a float too. */
static int ops_order(const struct jinja_value *a, const struct jinja_value *b)
{
    int64_t x = 0, y = 0;
    double f, g;
    const bool a_int = jinja_as_int(a, &x), b_int = jinja_as_int(b, &y);
    if (a_int && b_int)
        return (x > y) - (x < y);
    if (a_int != b_int) {
        const double d = a_int ? b->f : a->f;
        const int64_t i = a_int ? x : y;
        int c;
        if (isnan(d))
            return 2;
        if (d >= 0x1p63 || d < -0x1p63)
            c = d > 0 ? -1 : 1;
        else
            c = i != (int64_t)d ? (i > (int64_t)d) - (i < (int64_t)d)
                                : (d < trunc(d)) - (d > trunc(d));
        return a_int ? c : -c;
    }
    f = a->f;
    g = b->f;
    return isnan(f) || isnan(g) ? 2 : (f > g) - (f < g);
}

static bool ops_eq(struct render *r, const struct jinja_value *a,
                   const struct jinja_value *b, bool *out, int depth);

static bool ops_is_number(const struct jinja_value *v)
{
    return v->type == J_BOOL || v->type == J_INT || v->type == J_FLOAT;
}

static int ops_str_order(const struct jinja_str *a, const struct jinja_str *b)
{
    const size_t n = a->n < b->n ? a->n : b->n;
    const int c = n ? memcmp(a->s, b->s, n) : 0;
    return c ? (c > 0) - (c < 0) : (a->n > b->n) - (a->n < b->n);
}

static bool ops_list_eq(struct render *r, const struct jinja_list *a,
                        const struct jinja_list *b, bool *out, int depth)
{
    *out = a == b || (a->kind == b->kind && a->n == b->n && a->kind != JL_GENERATOR);
    for (size_t i = 0; a != b && *out && i < a->n; i++)
        if (!ops_eq(r, &a->v[i], &b->v[i], out, depth + 1))
            return false;
    return true;
}

static bool ops_dict_eq(struct render *r, const struct jinja_dict *a,
                        const struct jinja_dict *b, bool *out, int depth)
{
    *out = a->n == b->n;
    for (size_t i = 0; a != b && *out && i < a->n; i++) {
        const struct jinja_value *other = jinja_dict_get(r, b, &a->p[i].key);
        if (r->status != STATUS_OK)
            return false;
        *out = other;
        if (other && !ops_eq(r, &a->p[i].value, other, out, depth + 1))
            return false;
    }
    return true;
}

static bool ops_range_eq(const struct jinja_range *a, const struct jinja_range *b)
{
    return a->n == b->n &&
           (!a->n || (a->start == b->start && (a->n == 1 || a->step == b->step)));
}

static bool ops_eq(struct render *r, const struct jinja_value *a,
                   const struct jinja_value *b, bool *out, int depth)
{
    if (depth > JINJA_VALUE_DEPTH)
        return jinja_limit(r, "a value nests deeper than %d", JINJA_VALUE_DEPTH);
    if (!jinja_charge(r, 1))
        return false;
    *out = false;
    if (ops_is_number(a) && ops_is_number(b)) {
        *out = ops_order(a, b) == 0;
        return true;
    }
    if (a->type != b->type)
        return true;
    switch (a->type) {
    case J_UNDEF:
    case J_NONE:
        *out = true;
        return true;
    case J_STR:
        *out = a->s->n == b->s->n && (!a->s->n || !memcmp(a->s->s, b->s->s, a->s->n));
        return jinja_charge(r, *out ? a->s->n / 64 : 0);
    case J_LIST:
        return ops_list_eq(r, a->l, b->l, out, depth);
    case J_DICT:
        return ops_dict_eq(r, a->d, b->d, out, depth);
    case J_RANGE:
        *out = ops_range_eq(a->range, b->range);
        return true;
    default:
        *out = a->d == b->d; // the same object
        return true;
    }
}

bool jinja_eq(struct render *r, const struct jinja_value *a, const struct jinja_value *b,
              bool *out)
{
    return ops_eq(r, a, b, out, 0);
}

static bool ops_apply(enum jinja_op op, int order)
{
    switch (op) {
    case JO_LT:
        return order == -1;
    case JO_LE:
        return order == -1 || order == 0;
    case JO_GT:
        return order == 1;
    default:
        return order == 1 || order == 0;
    }
}

static bool ops_list_compare(struct render *r, enum jinja_op op,
                             const struct jinja_list *a, const struct jinja_list *b,
                             bool *out, int depth);

static bool ops_less(struct render *r, enum jinja_op op, const struct jinja_value *a,
                     const struct jinja_value *b, bool *out, int depth)
{
    static const char *const text[] = {
        [JO_LT] = "<", [JO_LE] = "<=", [JO_GT] = ">", [JO_GE] = ">="};
    if (depth > JINJA_VALUE_DEPTH)
        return jinja_limit(r, "a value nests deeper than %d", JINJA_VALUE_DEPTH);
    if (ops_is_number(a) && ops_is_number(b)) {
        *out = ops_apply(op, ops_order(a, b));
        return true;
    }
    if (a->type == J_UNDEF || b->type == J_UNDEF)
        return jinja_undefined(r, a->type == J_UNDEF ? a : b);
    if (a->type == J_STR && b->type == J_STR) {
        *out = ops_apply(op, ops_str_order(a->s, b->s));
        return jinja_charge(r, a->s->n / 64);
    }
    if (a->type == J_LIST && b->type == J_LIST && a->l->kind == b->l->kind &&
        a->l->kind <= JL_TUPLE)
        return ops_list_compare(r, op, a->l, b->l, out, depth);
    return jinja_fail(r, "'%s' not supported between instances of '%s' and '%s'",
                      text[op], jinja_type_name(a), jinja_type_name(b));
}

static bool ops_list_compare(struct render *r, enum jinja_op op,
                             const struct jinja_list *a, const struct jinja_list *b,
                             bool *out, int depth)
{
    for (size_t i = 0; i < a->n && i < b->n; i++) {
        bool same;
        if (!ops_eq(r, &a->v[i], &b->v[i], &same, depth + 1))
            return false;
        if (!same)
            return ops_less(r, op, &a->v[i], &b->v[i], out, depth + 1);
    }
    *out = ops_apply(op, (a->n > b->n) - (a->n < b->n));
    return true;
}

bool jinja_compare(struct render *r, enum jinja_op op, const struct jinja_value *a,
                   const struct jinja_value *b, bool *out)
{
    if (op >= JO_LT && op <= JO_GE)
        return ops_less(r, op, a, b, out, 0);
    const bool ok = op <= JO_NE ? ops_eq(r, a, b, out, 0) : jinja_contains(r, a, b, out);
    if (op == JO_NE || op == JO_NOT_IN)
        *out = !*out;
    return ok;
}

static bool ops_in_str(struct render *r, const struct jinja_value *item,
                       const struct jinja_str *in, bool *out)
{
    if (item->type != J_STR)
        return jinja_fail(r, "'in <string>' requires string as left operand, not %s",
                          jinja_type_name(item));
    const struct jinja_str *s = item->s;
    size_t at;
    if (!jinja_find(r, in, s, 0, &at))
        return false;
    *out = at != SIZE_MAX;
    return true;
}

bool jinja_contains(struct render *r, const struct jinja_value *item,
                    const struct jinja_value *in, bool *out)
{
    struct jinja_iter it;
    *out = false;
    if (in->type == J_STR)
        return ops_in_str(r, item, in->s, out);
    if (in->type == J_DICT) {
        *out = jinja_dict_get(r, in->d, item);
        return r->status == STATUS_OK && jinja_hashable(r, item);
    }
    if (in->type != J_LIST && in->type != J_RANGE && in->type != J_UNDEF)
        return jinja_fail(r, "argument of type '%s' is not iterable",
                          jinja_type_name(in));
    if (!jinja_iterate(r, &it, in))
        return false;
    const size_t n = jinja_iter_n(&it);
    for (size_t i = 0; i < n && !*out; i++) {
        const struct jinja_value v = jinja_iter_at(&it, i);
        if (!jinja_eq(r, &v, item, out))
            return false;
    }
    return true;
}

/* ---- arithmetic ---- */

static const char *const ops_text[] = {
    [JO_ADD] = "+",       [JO_SUB] = "-", [JO_MUL] = "*",           [JO_DIV] = "/",
    [JO_FLOORDIV] = "//", [JO_MOD] = "%", [JO_POW] = "** or pow()",
};

static bool ops_overflow(struct render *r)
{
    return jinja_fail(r, "an integer needs more than 64 bits");
}

static bool ops_int_pow(struct render *r, struct jinja_value *out, int64_t a, int64_t b)
{
    int64_t v = 1;
    if (b < 0) {
        if (!a)
            return jinja_fail(r, "0.0 cannot be raised to a negative power");
        *out = jinja_float(pow((double)a, (double)b));
        return true;
    }
    if (a == 0 || a == 1 || a == -1) {
        *out = jinja_int(b == 0 ? 1 : a == -1 && b % 2 == 0 ? 1 : a);
        return true;
    }
    for (; b; b--)
        if (__builtin_mul_overflow(v, a, &v))
            return ops_overflow(r);
    *out = jinja_int(v);
    return true;
}

static bool ops_int(struct render *r, enum jinja_op op, struct jinja_value *out,
                    int64_t a, int64_t b)
{
    int64_t v = 0;
    bool over = false;
    switch (op) {
    case JO_ADD:
        over = __builtin_add_overflow(a, b, &v);
        break;
    case JO_SUB:
        over = __builtin_sub_overflow(a, b, &v);
        break;
    case JO_MUL:
        over = __builtin_mul_overflow(a, b, &v);
        break;
    case JO_POW:
        return ops_int_pow(r, out, a, b);
    case JO_DIV:
        if (!b)
            return jinja_fail(r, "division by zero");
        *out = jinja_float((double)a / (double)b);
        return true;
    default: // floor division and its remainder, which has the sign of b
        if (!b)
            return jinja_fail(r, op == JO_MOD ? "integer modulo by zero"
                                              : "integer division or modulo by zero");
        over = a == INT64_MIN && b == -1 && op == JO_FLOORDIV;
        if (b == -1)
            v = op == JO_MOD || over ? 0 : -a;
        else if (op == JO_MOD)
            v = a % b + (a % b && (a % b < 0) != (b < 0) ? b : 0);
        else
            v = a / b - (a % b && (a < 0) != (b < 0));
    }
    *out = jinja_int(v);
    return !over || ops_overflow(r);
}

static bool ops_float(struct render *r, enum jinja_op op, struct jinja_value *out,
                      double a, double b)
{
    double v, m;
    switch (op) {
    case JO_ADD:
        v = a + b;
        break;
    case JO_SUB:
        v = a - b;
        break;
    case JO_MUL:
        v = a * b;
        break;
    case JO_POW:
        if (a == 0 && b < 0)
            return jinja_fail(r, "0.0 cannot be raised to a negative power");
        if (a < 0 && isfinite(a) && isfinite(b) && b != trunc(b))
            return jinja_fail(r, "a complex number is not supported");
        v = pow(a, b);
        if (isinf(v) && isfinite(a) && isfinite(b))
            return jinja_fail(r, "(34, 'Numerical result out of range')");
        break;
    case JO_DIV:
        if (b == 0)
            return jinja_fail(r, "float division by zero");
        v = a / b;
        break;
    default:
        if (b == 0)
            return jinja_fail(r, op == JO_MOD ? "float modulo"
                                              : "float floor division by zero");
        m = fmod(a, b);
        v = (a - m) / b;
        if (m != 0 && (b < 0) != (m < 0)) {
            m += b;
            v -= 1;
        } else if (m == 0) {
            m = copysign(0.0, b);
        }
        if (v != 0) {
            const double whole = floor(v);
            v = v - whole > 0.5 ? whole + 1 : whole;
        } else {
            v = copysign(0.0, a / b);
        }
        if (op == JO_MOD)
            v = m;
    }
    *out = jinja_float(v);
    return true;
}

/* What + says about operands that do not go together. */
static bool ops_mismatch(struct render *r, enum jinja_op op, const struct jinja_value *a,
                         const struct jinja_value *b)
{
    const char *x = jinja_type_name(a), *y = jinja_type_name(b);
    if (a->type == J_UNDEF || b->type == J_UNDEF)
        return jinja_undefined(r, a->type == J_UNDEF ? a : b);
    if (op == JO_ADD &&
        (a->type == J_STR || (a->type == J_LIST && a->l->kind <= JL_TUPLE)))
        return jinja_fail(r, "can only concatenate %s (not \"%s\") to %s", x, y, x);
    if (op == JO_MUL &&
        (a->type == J_STR || b->type == J_STR || a->type == J_LIST || b->type == J_LIST))
        return jinja_fail(r, "can't multiply sequence by non-int of type '%s'",
                          a->type == J_STR || a->type == J_LIST ? y : x);
    return jinja_fail(r, "unsupported operand type(s) for %s: '%s' and '%s'",
                      ops_text[op], x, y);
}

static bool ops_repeat_str(struct render *r, struct jinja_value *out,
                           const struct jinja_str *s, int64_t count)
{
    struct jinja_sink o;
    bool ok = true;
    jinja_sink_init(r, &o);
    for (int64_t i = 0; ok && s->n && i < count; i++)
        ok = (i % 64 || jinja_charge(r, 1)) && jinja_put_str(r, &o, s);
    ok = ok && jinja_sink_str(r, out, &o);
    jinja_sink_release(r, &o);
    return ok;
}

static bool ops_repeat_list(struct render *r, struct jinja_value *out,
                            const struct jinja_list *l, int64_t count)
{
    struct jinja_list *o = jinja_list_new(r, l->kind, 0);
    if (!o)
        return false;
    for (int64_t i = 0; l->n && i < count; i++) {
        if (!jinja_charge(r, l->n / 8 + (i % 8 == 0)))
            return false;
        for (size_t j = 0; j < l->n; j++)
            if (!jinja_list_push(r, o, &l->v[j]))
                return false;
    }
    *out = jinja_listv(o);
    return true;
}

static bool ops_concat_list(struct render *r, struct jinja_value *out,
                            const struct jinja_list *a, const struct jinja_list *b)
{
    const size_t n = a->n + b->n;
    struct jinja_list *o = jinja_charge(r, n / 8) ? jinja_list_new(r, a->kind, n) : NULL;
    if (!o)
        return false;
    for (size_t i = 0; i < n; i++)
        o->v[i] = i < a->n ? a->v[i] : b->v[i - a->n];
    o->n = n;
    *out = jinja_listv(o);
    return true;
}

bool jinja_binary(struct render *r, enum jinja_op op, struct jinja_value *out,
                  const struct jinja_value *a, const struct jinja_value *b)
{
    int64_t i = 0, j = 0;
    double f, g;
    const bool a_int = jinja_as_int(a, &i), b_int = jinja_as_int(b, &j);
    if (a_int && b_int)
        return ops_int(r, op, out, i, j);
    if (jinja_number(a, &f) && jinja_number(b, &g))
        return ops_float(r, op, out, f, g);
    if (op == JO_ADD && a->type == J_STR && b->type == J_STR)
        return jinja_concat(r, out, a->s, b->s);
    if (op == JO_ADD && a->type == J_LIST && b->type == J_LIST &&
        a->l->kind == b->l->kind && a->l->kind <= JL_TUPLE)
        return ops_concat_list(r, out, a->l, b->l);
    if (op == JO_MUL && (a_int || b_int)) {
        const struct jinja_value *v = a_int ? b : a;
        if (v->type == J_STR)
            return ops_repeat_str(r, out, v->s, a_int ? i : j);
        if (v->type == J_LIST && v->l->kind <= JL_TUPLE)
            return ops_repeat_list(r, out, v->l, a_int ? i : j);
    }
    if (op == JO_MOD && a->type == J_STR)
        return jinja_fail(r, "formatting with %% is not supported; use ~");
    return ops_mismatch(r, op, a, b);
}

bool jinja_negate(struct render *r, struct jinja_value *out, const struct jinja_value *v)
{
    int64_t i;
    if (v->type == J_FLOAT) {
        *out = jinja_float(-v->f);
        return true;
    }
    if (v->type == J_UNDEF)
        return jinja_undefined(r, v);
    if (!jinja_as_int(v, &i))
        return jinja_fail(r, "bad operand type for unary -: '%s'", jinja_type_name(v));
    if (i == INT64_MIN)
        return ops_overflow(r);
    *out = jinja_int(-i);
    return true;
}
