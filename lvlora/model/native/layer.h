/* Parts of a layer but its attention, each divided among the threads. */

typedef struct {
    const Linear *linear;
    float *y;
    int64_t ldy;
    int add;
} Product;

/* all low-rank updates' A of some products of the same inputs: low (rows, low width), rounded */
static void lower(
    Worker *self, const Product *products, int n, const element *x, int64_t ldx, int64_t rows) {
    Engine *e = self->engine;
    const int64_t block = 4 * TILE_ROWS, n_blocks = pieces(rows, block);
    for (int64_t t; (t = take(e, n_blocks)) < n_blocks;) {
        int64_t first = t * block, m = smaller(block, rows - first), place = 0;
        for (int i = 0; i < n; i++) {
            const Linear *f = products[i].linear;
            if (!f->low) continue;
            float *sums = e->low_sums + first * e->low_width + place;
            element *low = e->low + first * e->low_width + place;
            multiply(x + first * ldx, ldx, m, f->low, f->rank, f->in, sums, e->low_width, 0);
            for (int64_t r = 0; r < m; r++)
                for (int64_t c = 0; c < f->padded; c++)
                    low[r * e->low_width + c] =
                        c < f->rank ? rounded(f->scaling * sums[r * e->low_width + c]) : 0;
            place += f->padded;
        }
    }
    meet(self);
}

static int any_low(const Product *products, int n) {
    for (int i = 0; i < n; i++)
        if (products[i].linear->low) return 1;
    return 0;
}

/* a block of a product, its update and bias included; `place` is where its low part is */
static void block_of(
    const Engine *e, const Linear *f, int64_t place, const element *x, int64_t ldx, int64_t first,
    int64_t m, int64_t column, int64_t n, float *y, int64_t ldy, int add) {
    multiply(x + first * ldx, ldx, m, f->weight + column * f->in, n, f->in, y, ldy, add);
    if (f->low)
        multiply(
            e->low + first * e->low_width + place, e->low_width, m, f->high + column * f->padded, n,
            f->padded, y, ldy, 1);
    if (f->bias)
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) y[i * ldy + j] += f->bias[column + j];
}

static void project(
    Worker *self, const Product *products, int n, const element *x, int64_t ldx, int64_t rows) {
    Engine *e = self->engine;
    if (any_low(products, n)) lower(self, products, n, x, ldx, rows);
    int64_t block = row_block(products[0].linear->in), n_rows = pieces(rows, block), n_tasks = 0;
    for (int i = 0; i < n; i++) {
        int64_t out = products[i].linear->out;
        n_tasks += n_rows * pieces(out, column_block(out, rows, e->n_threads));
    }
    for (int64_t t; (t = take(e, n_tasks)) < n_tasks;) {
        int64_t place = 0;
        const Product *p = products;
        for (;; p++) {
            int64_t out = p->linear->out;
            int64_t here = n_rows * pieces(out, column_block(out, rows, e->n_threads));
            if (t < here) break;
            t -= here;
            if (p->linear->low) place += p->linear->padded;
        }
        const Linear *f = p->linear;
        int64_t width = column_block(f->out, rows, e->n_threads), n_columns = pieces(f->out, width);
        int64_t first = t / n_columns * block, column = t % n_columns * width;
        block_of(
            e, f, place, x, ldx, first, smaller(block, rows - first), column,
            smaller(width, f->out - column), p->y + first * p->ldy + column, p->ldy, p->add);
    }
    meet(self);
}

/* act = silu(gate) up (Shazeer 2020, arXiv:2002.05202) */
static void gated_unit(Worker *self, const Layer *layer, int64_t rows) {
    Engine *e = self->engine;
    const Linear *gate = &layer->linear[GATE], *up = &layer->linear[UP];
    const Product both[2] = {{.linear = gate}, {.linear = up}};
    if (any_low(both, 2)) lower(self, both, 2, e->in, e->hidden, rows);
    int64_t behind = gate->low ? gate->padded : 0;
    int64_t block = row_block(e->hidden), width = column_block(e->wide, rows, e->n_threads);
    int64_t n_columns = pieces(e->wide, width), n_tasks = pieces(rows, block) * n_columns;
    float *g = self->scratch, *u = g + smaller(block, rows) * width;
    for (int64_t t; (t = take(e, n_tasks)) < n_tasks;) {
        int64_t first = t / n_columns * block, m = smaller(block, rows - first);
        int64_t column = t % n_columns * width, n = smaller(width, e->wide - column);
        block_of(e, gate, 0, e->in, e->hidden, first, m, column, n, g, width, 0);
        block_of(e, up, behind, e->in, e->hidden, first, m, column, n, u, width, 0);
        for (int64_t i = 0; i < m; i++) {
            element *to = e->act + (first + i) * e->wide + column;
            const float *x = g + i * width, *y = u + i * width;
            int64_t j = 0;
            for (; j + LANES <= n; j += LANES)
                store_rounded(silu(*(const vector *)(x + j)) * *(const vector *)(y + j), to + j);
            for (; j < n; j++) { /* the same numbers, of a vector's first lane */
                vector one = silu(every(x[j])) * y[j];
                to[j] = rounded(one[0]);
            }
        }
    }
    meet(self);
}

/* weight x / rms(x) (Zhang and Sennrich 2019, arXiv:1910.07467), rounded */
static void norm(Worker *self, const float *weight, int64_t rows) {
    Engine *e = self->engine;
    const int64_t block = 8, n_blocks = pieces(rows, block), width = e->hidden;
    for (int64_t t; (t = take(e, n_blocks)) < n_blocks;)
        for (int64_t i = t * block; i < smaller(rows, (t + 1) * block); i++) {
            const float *x = e->x + i * width;
            vector sum = {0};
            for (int64_t j = 0; j < width; j += LANES) {
                vector v = *(const vector *)(x + j);
                sum = fused(v, v, sum);
            }
            float inverse = 1.0f / sqrtf(total(sum) / (float)width + e->eps);
            unsigned char lost = 1;
            element *to = e->in + i * width;
            ivector any = {0};
            for (int64_t j = 0; j < width; j += LANES) {
                vector y = *(const vector *)(x + j) * inverse;
                any |= y != (vector){0};
                store_rounded(y * *(const vector *)(weight + j), to + j);
            }
            for (int l = 0; l < LANES; l++) lost &= !any[l];
            e->lost[i] = lost;
        }
    meet(self);
}

/* rotary positions (Su et al. 2021, arXiv:2104.09864); keys and values go into their pages */
static void rotate(Worker *self, int64_t layer, const int64_t *asks, int64_t n_asks) {
    Engine *e = self->engine;
    const int64_t dim = e->head_dim, half = dim / 2, n_kv = e->kv_heads;
    const int64_t block = 8, n_keys = pieces(e->n_tokens, block);
    const int64_t n_all = n_keys + pieces(n_asks, block);
    for (int64_t t; (t = take(e, n_all)) < n_all;) {
        if (t >= n_keys) {
            int64_t first = (t - n_keys) * block;
            for (int64_t i = first; i < smaller(n_asks, first + block); i++) {
                const float *c = e->cosines + e->position[asks[i]] * half;
                const float *s = e->sines + e->position[asks[i]] * half;
                for (int64_t h = 0; h < e->heads; h++) {
                    const float *q = e->queries + (i * e->heads + h) * dim;
                    element *to = e->rotated + (i * e->heads + h) * dim;
                    for (int64_t d = 0; d < half; d++) {
                        to[d] = rounded(q[d] * c[d] - q[d + half] * s[d]);
                        to[d + half] = rounded(q[d + half] * c[d] + q[d] * s[d]);
                    }
                }
            }
            continue;
        }
        for (int64_t i = t * block; i < smaller(e->n_tokens, (t + 1) * block); i++) {
            const float *c = e->cosines + e->position[i] * half;
            const float *s = e->sines + e->position[i] * half;
            int64_t slot = e->at[i] % PAGE;
            for (int64_t h = 0; h < n_kv; h++) {
                element *keys = keys_of(e, e->segments + e->own[i], e->at[i] / PAGE, layer, h);
                element *values =
                    keys + PAGE * dim + slot / PER_LANE * PER_LANE * dim + slot % PER_LANE;
                const float *k = e->keys_values + (i * 2 * n_kv + h) * dim;
                const float *v = k + n_kv * dim;
                keys += slot * PER_LANE;
                for (int64_t d = 0; d < half; d++) {
                    int64_t a = d, b = d + half;
                    keys[a / PER_LANE * PAGE * PER_LANE + a % PER_LANE] =
                        rounded(k[a] * c[d] - k[b] * s[d]);
                    keys[b / PER_LANE * PAGE * PER_LANE + b % PER_LANE] =
                        rounded(k[b] * c[d] + k[a] * s[d]);
                }
                for (int64_t d = 0; d < dim; d++) values[d * PER_LANE] = rounded(v[d]);
            }
        }
    }
    meet(self);
}
