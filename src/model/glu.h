/* glu.h - a gated linear unit: down(act(gate x) * up x), the body of every feed-forward
 * part.  Source: GLU variants, arXiv 2002.05202; gpt-oss: its model card's reference. */
#ifndef MODEL_GLU_H
#define MODEL_GLU_H

#include "base/status.h"
#include "model/model_impl.h"
#include "tensor/matrix.h"

struct glu {
    struct matrix gate, up, down;
    float *gate_bias, *up_bias, *down_bias; // [n_ff], [n_ff], [n_embd], or NULL
};

/* Tensors blk.<layer>.ffn_{gate,up,down}<suffix>.weight, and .bias where there are any;
 * without a gate tensor the rows of the gate come first in that of up. */
enum status glu_bind(struct glu *f, struct weights *w, int layer, const char *suffix,
                     int n_embd, int n_ff, struct error *err);
void glu_work(struct token_work *sum, const struct glu *f);

/* gate [n] <- act(gate) * up; up [n] may be overwritten.  In parallel over pieces of any
 * size: elements are independent. */
void glu_activate(const struct model *m, float *gate, float *up, size_t n);

size_t glu_scratch_bytes(int n_tok, int n_ff);
/* out [n_tok][n_embd] <- the unit of s->act, which is reloaded; scratch of
 * glu_scratch_bytes. */
void glu_forward(const struct model *m, struct step *s, const struct glu *f,
                 uint8_t *scratch, float *out);

#endif
