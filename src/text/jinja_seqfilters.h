/* jinja_seqfilters.h - filters that work on sequences, for the table of filters. */
#ifndef TEXT_JINJA_SEQFILTERS_H
#define TEXT_JINJA_SEQFILTERS_H

#include "text/jinja.h"

jinja_fn jinja_f_items, jinja_f_list, jinja_f_join, jinja_f_first, jinja_f_last,
    jinja_f_reverse, jinja_f_batch, jinja_f_unique, jinja_f_sort, jinja_f_dictsort,
    jinja_f_min, jinja_f_max, jinja_f_sum, jinja_f_attr;
jinja_raw_fn jinja_f_map, jinja_f_select, jinja_f_reject, jinja_f_selectattr,
    jinja_f_rejectattr;

#endif
