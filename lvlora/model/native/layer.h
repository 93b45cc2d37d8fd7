/* Parts of a layer but its attention, each divided among the threads. */

/* rows of inputs of k elements that are gone through together, and columns of a piece of work */
static int64_t row_block(const Engine *e, int64_t k) {
    const int64_t unit = e->tiles ? SIDE : TILE_ROWS;
    int64_t rows = smaller(BLOCK_BYTES / (k * (int64_t)sizeof(element)), MOST_BLOCK_ROWS);
    return larger(1, rows / unit) * unit;
}
static int64_t column_block(const Engine *e, int64_t n, int64_t rows) {
    const int64_t unit = e->tiles ? SIDE : TILE_COLUMNS;
    if (rows <= FEW_ROWS) /* what is asked for ahead should not be another thread's */
        return smaller(pieces(n, 4 * e->n_threads * unit) * unit, FEW_ROWS_COLUMNS);
    return n >= 512 ? MOST_BLOCK_COLUMNS : n >= 128 || e->tiles ? 16 : 8;
}

/* rows of inputs as products take them: as they are or, for tiles, packed by all threads */
static const element *inputs(Worker *self, const element *x, int64_t width, int64_t rows) {
#ifdef HAVE_TILES
    Engine *e = self->engine;
    if (e->tiles) {
        const int64_t n_blocks = pieces(rows, SIDE);
        for (int64_t t; (t = take(e, n_blocks)) < n_blocks;)
            pack_block(
                x + t * SIDE * width, width, smaller(SIDE, rows - t * SIDE), width,
                e->packed + t * SIDE * width);
        meet(self);
        return e->packed;
    }
#endif
    return x;
}

/* `multiply` of rows from `first` on of inputs that are `width` wide, k of them from `place` on */
static void multiply_inputs(
    const Engine *e, const element *x, int64_t width, int64_t first, int64_t place, int64_t rows,
    const element *w, int64_t columns, int64_t k, float *y, int64_t ldy, int add,
    const element *then) {
#ifdef HAVE_TILES
    if (e->tiles) {
        multiply_tiles(
            x + first * width + place * SIDE, SIDE * width, rows, w, columns, k, y, ldy, add);
        return;
    }
#endif
    multiply(x + first * width + place, width, rows, w, columns, k, y, ldy, add, then);
}

/* where an input is */
static int64_t input_at(const Engine *e, int64_t width, int64_t row, int64_t column) {
    if (!e->tiles) return row * width + column;
    return (row / SIDE * width + column / 2 * 2) * SIDE + row % SIDE * 2 + column % 2;
}

typedef struct {
    const Linear *linear;
    float *y;
    int64_t ldy;
    int add;
} Product;

/* all low-rank updates' A of some products of the same inputs: low (rows, low width), rounded */
static void lower(
    Worker *self, const Product *products, int n, const element *x, int64_t width, int64_t rows) {
    Engine *e = self->engine;
    const int64_t block = 4 * (e->tiles ? SIDE : TILE_ROWS), n_blocks = pieces(rows, block);
    for (int64_t t; (t = take(e, n_blocks)) < n_blocks;) {
        int64_t first = t * block, m = smaller(block, rows - first), place = 0;
        for (int i = 0; i < n; i++) {
            const Linear *f = products[i].linear;
            if (!f->low) continue;
            float *sums = e->low_sums + first * e->low_width + place;
            multiply_inputs(
                e, x, width, first, 0, m, f->low, f->rank, f->in, sums, e->low_width, 0, f->low);
            for (int64_t r = 0; r < m; r++)
                for (int64_t c = 0; c < f->padded; c++)
                    e->low[input_at(e, e->low_width, first + r, place + c)] =
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

/* a block of a product, its update and bias included; `place` is where its low part is, `then` what
   weights come after it */
static void block_of(
    const Engine *e, const Linear *f, int64_t place, const element *x, int64_t first,
    int64_t m, int64_t column, int64_t n, float *y, int64_t ldy, int add, const element *then) {
    const element *weight = f->weight + column * f->in;
    multiply_inputs(
        e, x, f->in, first, 0, m, weight, n, f->in, y, ldy, add, then ? then : weight);
    if (f->low) {
        const element *high = f->high + column * f->padded;
        multiply_inputs(
            e, e->low, e->low_width, first, place, m, high, n, f->padded, y, ldy, 1, high);
    }
    if (f->bias)
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) y[i * ldy + j] += f->bias[column + j];
}

typedef struct {
    const Product *product; /* none behind the last piece */
    int64_t first, column, width, place;
} Piece;

/* piece t of products, rows in blocks */
static Piece piece_at(
    const Engine *e, const Product *products, int n, int64_t rows, int64_t block, int64_t t) {
    int64_t place = 0;
    for (const Product *p = products; p < products + n; p++) {
        int64_t width = column_block(e, p->linear->out, rows);
        int64_t n_columns = pieces(p->linear->out, width), here = pieces(rows, block) * n_columns;
        if (t < here) return (Piece){p, t / n_columns * block, t % n_columns * width, width, place};
        t -= here;
        if (p->linear->low) place += p->linear->padded;
    }
    return (Piece){0};
}

static void project(
    Worker *self, const Product *products, int n, const element *x, int64_t rows) {
    Engine *e = self->engine;
    const int64_t in = products[0].linear->in;
    x = inputs(self, x, in, rows);
    if (any_low(products, n)) lower(self, products, n, x, in, rows);
    int64_t block = row_block(e, in), n_tasks = 0;
    for (int i = 0; i < n; i++) {
        int64_t out = products[i].linear->out;
        n_tasks += pieces(rows, block) * pieces(out, column_block(e, out, rows));
    }
    for (int64_t t; (t = take(e, n_tasks)) < n_tasks;) {
        const Piece now = piece_at(e, products, n, rows, block, t);
        /* threads take pieces in turns, more or less */
        const Piece next = piece_at(e, products, n, rows, block, t + e->n_threads);
        const Product *p = now.product;
        const Linear *f = p->linear, *after = next.product ? next.product->linear : NULL;
        block_of(
            e, f, now.place, x, now.first, smaller(block, rows - now.first), now.column,
            smaller(now.width, f->out - now.column), p->y + now.first * p->ldy + now.column, p->ldy,
            p->add, after ? after->weight + next.column * after->in : NULL);
    }
    meet(self);
}

/* act = silu(gate) up (Shazeer 2020, arXiv:2002.05202) */
static void gated_unit(Worker *self, const Layer *layer, int64_t rows) {
    Engine *e = self->engine;
    const Linear *gate = &layer->linear[GATE], *up = &layer->linear[UP];
    const Product both[2] = {{.linear = gate}, {.linear = up}};
    const element *in = inputs(self, e->in, e->hidden, rows);
    if (any_low(both, 2)) lower(self, both, 2, in, e->hidden, rows);
    int64_t behind = gate->low ? gate->padded : 0;
    int64_t block = row_block(e, e->hidden), width = column_block(e, e->wide, rows);
    int64_t n_columns = pieces(e->wide, width), n_tasks = pieces(rows, block) * n_columns;
    float *g = self->scratch, *u = g + smaller(block, rows) * width;
    for (int64_t t; (t = take(e, n_tasks)) < n_tasks;) {
        int64_t first = t / n_columns * block, m = smaller(block, rows - first);
        int64_t column = t % n_columns * width, n = smaller(width, e->wide - column);
        const element *then = up->weight + column * e->hidden;
        block_of(e, gate, 0, in, first, m, column, n, g, width, 0, then);
        then = t + e->n_threads < n_tasks /* threads take them in turns, more or less */
            ? gate->weight + (t + e->n_threads) % n_columns * width * e->hidden
            : NULL;
        block_of(e, up, behind, in, first, m, column, n, u, width, 0, then);
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
