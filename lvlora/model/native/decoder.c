/* Llama's and Qwen2's decoder for a few tokens of many rows: one call, no padding, no copies.

   Compiled by the machine's own C compiler when it is first wanted (building.py), once for float32
   weights and once for bfloat16 ones (-DBFLOAT16), and called through ctypes (engine.py).

   - Weights stay where they are: (out, in) row by row, as PyTorch has them. Products are dot
     products along the rows in tiles that fit into the registers, so nothing is packed.
   - Hidden states, sums, norms, softmax and activations are float32; in bfloat16 only what goes
     into a product is rounded.
   - Keys and values are in pages of PAGE positions, each of all layers. A segment is a list of
     pages; a row attends to a shared segment (its history, read once for all its samples) and then
     to its own. Softmax is taken page by page (Milakov and Gimelshein 2018, arXiv:1805.02867).
   - Every number is a sum in an order that does not depend on other rows, on how tokens are
     divided into calls, or on threads: the same bits whatever the batch. */

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define LANES 16
#define TILE_ROWS 6
#elif defined(__aarch64__)
#define LANES 4
#define TILE_ROWS 5
#else
#define LANES 8
#define TILE_ROWS 2
#endif
#define TILE_COLUMNS 4
#define PAGE 32
#define PAGE_VECTORS (PAGE / LANES)
#define AHEAD 8 /* rows of weights are asked for before they are used */
#define QUERIES (PAGE_VECTORS >= 8 ? 1 : 12 / PAGE_VECTORS) /* that go through a page together */
#define MOST_QUERIES 6
#define MOST_HEAD_DIM 256
#define BLOCK_BYTES 262144 /* of inputs that stay in a core's second cache */
#define MOST_BLOCK_ROWS 384
#define MOST_BLOCK_COLUMNS 32

typedef float vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ivector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* a b + c, rounded once where the processor has that: written out, because a compiler that may
   choose chooses differently from place to place, and results would depend on the batch */
static inline vector fused(vector a, vector b, vector c) {
#if LANES == 16
    return (vector)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    return (vector)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
    return (vector)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}
static inline float fused_one(float a, float b, float c) {
#ifdef FP_FAST_FMAF
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}
static inline vector every(float x) { return x - (vector){0}; }

/* ---- elements: what weights, keys and values are kept in ---- */

#ifdef BFLOAT16
typedef uint16_t element;
#define PER_LANE 2 /* elements that a product of one lane multiplies */

static inline element rounded(float x) {
    union { float f; uint32_t u; } b = {x};
    uint32_t up = (b.u + 0x7fff + ((b.u >> 16) & 1)) >> 16;
    return (element)((b.u & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : up);
}
static inline float widened(element x) {
    union { uint32_t u; float f; } b = {(uint32_t)x << 16};
    return b.f;
}
typedef __m512i pack;
static inline pack load_pack(const element *p) { return _mm512_loadu_si512(p); }
static inline pack spread_pack(const element *p) { /* one lane's elements in every lane */
    int32_t both;
    memcpy(&both, p, 4);
    return _mm512_set1_epi32(both);
}
static inline vector multiply_add(vector sum, pack a, pack b) {
    return (vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}
#else
typedef float element;
#define PER_LANE 1
static inline element rounded(float x) { return x; }
static inline float widened(element x) { return x; }
typedef vector pack;
static inline pack load_pack(const element *p) { return *(const vector *)p; }
static inline pack spread_pack(const element *p) { return every(*p); }
static inline vector multiply_add(vector sum, pack a, pack b) { return fused(a, b, sum); }
#endif

#define PACK (LANES * PER_LANE)

/* the larger of both, lane by lane; where one is NaN, b */
static inline vector largest(vector a, vector b) {
#if LANES == 16
    return (vector)_mm512_max_ps((__m512)a, (__m512)b);
#else
    ivector first = a > b;
    return (vector)(((ivector)a & first) | ((ivector)b & ~first));
#endif
}

/* a where the mask is all ones, b where it is none */
static inline vector chosen(ivector mask, vector a, vector b) {
    return (vector)(((ivector)a & mask) | ((ivector)b & ~mask));
}

/* a mask of the first n lanes */
static inline ivector seen(int64_t n) {
    ivector lanes;
    for (int i = 0; i < LANES; i++) lanes[i] = i;
    int32_t limit = (int32_t)(n < 0 ? 0 : n > LANES ? LANES : n);
    return lanes < limit - (ivector){0};
}

static inline float largest_of(vector v) {
#if LANES == 16
    return _mm512_reduce_max_ps((__m512)v);
#endif
    float all[LANES];
    memcpy(all, &v, sizeof v);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) all[i] = all[i] > all[i + half] ? all[i] : all[i + half];
    return all[0];
}

static inline float total(vector v) {
#if LANES == 16
    return _mm512_reduce_add_ps((__m512)v);
#endif
    float sum[LANES];
    memcpy(sum, &v, sizeof v);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) sum[i] += sum[i + half];
    return sum[0];
}

/* sums of four vectors each, together */
static inline void totals(const vector v[4], float out[4]) {
#if LANES == 16
    __m512 a = (__m512)v[0], b = (__m512)v[1], c = (__m512)v[2], d = (__m512)v[3];
    __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    __m512 all = _mm512_add_ps(
        (__m512)_mm512_unpacklo_pd((__m512d)ab, (__m512d)cd),
        (__m512)_mm512_unpackhi_pd((__m512d)ab, (__m512d)cd));
    __m256 half = _mm256_add_ps(
        _mm512_castps512_ps256(all), (__m256)_mm512_extractf64x4_pd((__m512d)all, 1));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
#else
    for (int i = 0; i < 4; i++) out[i] = total(v[i]);
#endif
}

/* e^x for x up to 0, to what products round to (Cody and Waite's reduction, a polynomial); NaN
   stays */
static inline vector exponentials(vector x) {
    const vector turn = every(12582912.0f); /* 1.5 2^23: adding it rounds to whole numbers */
    x = largest(every(-87.0f), x);
    vector shifted = fused(x, every(1.44269504088896341f), turn);
    vector n = shifted - turn;
    vector r = fused(n, every(-0.693359375f), x);
    r = fused(n, every(2.12194440e-4f), r);
#ifdef BFLOAT16
    vector p = fused(r, every(4.3655555e-2f), every(1.6666665459e-1f));
#else
    vector p = fused(r, every(1.9875691500e-4f), every(1.3981999507e-3f));
    p = fused(p, r, every(8.3334519073e-3f));
    p = fused(p, r, every(4.1665795894e-2f));
    p = fused(p, r, every(1.6666665459e-1f));
#endif
    p = fused(p, r, every(5.0000001201e-1f));
    p = fused(p * r, r, r) + 1.0f;
    /* a product, because a NaN's own bits may be any and must not be added to */
    return p * (vector)(((ivector)shifted << 23) + (127 << 23));
}

/* e^x to float32's rounding, for any x; NaN stays */
static inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float n = rintf(x * 1.44269504088896341f);
    float r = fused_one(n, 2.12194440e-4f, fused_one(n, -0.693359375f, x));
    float p = 1.9875691500e-4f;
    p = fused_one(p, r, 1.3981999507e-3f);
    p = fused_one(p, r, 8.3334519073e-3f);
    p = fused_one(p, r, 4.1665795894e-2f);
    p = fused_one(p, r, 1.6666665459e-1f);
    p = fused_one(p, r, 5.0000001201e-1f);
    p = fused_one(p * r, r, r) + 1.0f;
    union { int32_t i; float f; } power = {((int32_t)n + 127) << 23};
    return p * power.f;
}

/* a page's weights, rounded */
static inline void round_page(const vector *p, element *to) {
#ifdef BFLOAT16
    for (int v = 0; v < PAGE_VECTORS; v += 2)
        _mm512_storeu_si512(
            to + v * LANES, (__m512i)_mm512_cvtne2ps_pbh((__m512)p[v + 1], (__m512)p[v]));
#else
    for (int v = 0; v < PAGE_VECTORS; v++) memcpy(to + v * LANES, p + v, sizeof *p);
#endif
}

/* ---- the model ---- */

typedef struct {
    const element *weight; /* (out, in) */
    const float *bias;     /* (out) or none */
    const element *low;    /* (padded rank, in) or none: a low-rank update's A */
    const element *high;   /* (out, padded rank): its B */
    int64_t in, out, rank, padded; /* the rank, and padded to whole packs */
    float scaling;
} Linear;

enum { Q, K, V, O, GATE, UP, DOWN, LINEARS };

typedef struct {
    Linear linear[LINEARS];
    const float *before_attention, *before_unit; /* weights of the norms */
} Layer;

typedef struct {
    char **pages;
    int64_t n_pages, room, length;
} Segment;

typedef struct { /* queries of one key/value head that go through pages together */
    int64_t first;   /* asking token of the group's first query */
    int64_t begin;   /* query in the group: token by token, in each head by head */
    int64_t count, kv_head;
} Task;

typedef struct {
    Task *list;
    int64_t n, room, pairs; /* (query head, position) that are multiplied */
} Tasks;

typedef struct {
    int64_t n_layers, hidden, heads, kv_heads, head_dim, wide, n_head;
    float eps;
    const element *embedding, *head;
    const float *head_bias, *final_norm;
    const float *cosines, *sines; /* (positions, head dim / 2) */
    Layer *layers;
    Segment *segments;
    int64_t n_segments, page_bytes;
    char **free_pages;
    int64_t n_free, free_room;
    /* of one call */
    int64_t n_tokens, n_want;
    const int64_t *ids, *want;
    int64_t *all; /* 0, 1, ... */
    int64_t *own, *shared, *at, *position; /* of each token: its segments, its place in its own */
    float *x, *queries, *keys_values, *low_sums, *logits;
    element *in, *rotated, *attended, *act, *low;
    unsigned char *lost; /* hidden states that are all zeros */
    int64_t room, low_width;
    Tasks tasks, last_tasks;
    /* threads */
    int n_threads;
    pthread_t *threads;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    int64_t generation;
    int stop;
    _Atomic int waiting, sense;
    _Atomic int64_t counter; /* pieces of the phase's work that were taken */
} Engine;

typedef struct { /* what a thread has of its own */
    Engine *engine;
    int sense;
    float *scratch;
} Worker;

/* ---- products ---- */

#define UNROLLED _Pragma("GCC unroll 8")

/* y[m][n] (+)= sum_k x[m][k] w[n][k] for a tile of m x n */
#define TILE(M, N)                                                                               \
    static void tile_##M##_##N(                                                                  \
        const element *x, int64_t ldx, const element *w, int64_t ldw, int64_t k, float *y,       \
        int64_t ldy, int add, int64_t ahead) {                                                   \
        vector sum[M][N];                                                                        \
        UNROLLED for (int i = 0; i < M; i++)                                                     \
            UNROLLED for (int j = 0; j < N; j++) sum[i][j] = (vector){0};                        \
        for (int64_t at = 0; at < k; at += PACK) {                                               \
            pack right[N];                                                                       \
            UNROLLED for (int j = 0; j < N; j++) right[j] = load_pack(w + j * ldw + at);         \
            if (ahead)                                                                           \
                UNROLLED for (int j = 0; j < N; j++)                                             \
                    __builtin_prefetch(w + j * ldw + at + ahead);                                \
            UNROLLED for (int i = 0; i < M; i++) {                                               \
                pack left = load_pack(x + i * ldx + at);                                         \
                UNROLLED for (int j = 0; j < N; j++)                                             \
                    sum[i][j] = multiply_add(sum[i][j], left, right[j]);                         \
            }                                                                                    \
        }                                                                                        \
        UNROLLED for (int i = 0; i < M; i++) {                                                   \
            float out[4];                                                                        \
            if (N == 4)                                                                          \
                totals(sum[i], out);                                                             \
            else                                                                                 \
                for (int j = 0; j < N; j++) out[j] = total(sum[i][j]);                           \
            float *to = y + i * ldy;                                                             \
            for (int j = 0; j < N; j++) to[j] = add ? to[j] + out[j] : out[j];                   \
        }                                                                                        \
    }

typedef void (*Tile)(
    const element *, int64_t, const element *, int64_t, int64_t, float *, int64_t, int,
    int64_t);

TILE(1, 4)
TILE(2, 4)
TILE(1, 1)
TILE(2, 1)
#if TILE_ROWS >= 5
TILE(3, 4)
TILE(4, 4)
TILE(5, 4)
TILE(3, 1)
TILE(4, 1)
TILE(5, 1)
#endif
#if TILE_ROWS >= 6
TILE(6, 4)
TILE(6, 1)
#endif

static const Tile TILES_4[] = {
    tile_1_4, tile_2_4,
#if TILE_ROWS >= 5
    tile_3_4, tile_4_4, tile_5_4,
#endif
#if TILE_ROWS >= 6
    tile_6_4,
#endif
};
static const Tile TILES_1[] = {
    tile_1_1, tile_2_1,
#if TILE_ROWS >= 5
    tile_3_1, tile_4_1, tile_5_1,
#endif
#if TILE_ROWS >= 6
    tile_6_1,
#endif
};

/* y (rows, ldy) (+)= x wT, w being `columns` rows of k */
static void multiply(
    const element *x, int64_t ldx, int64_t rows, const element *w, int64_t columns, int64_t k,
    float *y, int64_t ldy, int add) {
    for (int64_t j = 0; j < columns;) {
        int64_t n = columns - j >= TILE_COLUMNS ? TILE_COLUMNS : 1;
        const Tile *tiles = n == TILE_COLUMNS ? TILES_4 : TILES_1;
        for (int64_t i = 0; i < rows;) {
            int64_t m = rows - i < TILE_ROWS ? rows - i : TILE_ROWS;
            tiles[m - 1](x + i * ldx, ldx, w + j * k, k, k, y + i * ldy + j, ldy, add,
                          i ? 0 : AHEAD * k);
            i += m;
        }
        j += n;
    }
}

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t pieces(int64_t n, int64_t size) { return (n + size - 1) / size; }

/* rows of inputs of k elements that are gone through together, and columns of a piece of work */
static int64_t row_block(int64_t k) {
    int64_t rows = smaller(BLOCK_BYTES / (k * (int64_t)sizeof(element)), MOST_BLOCK_ROWS);
    return larger(1, rows / TILE_ROWS) * TILE_ROWS;
}
static int64_t column_block(int64_t n) { return n >= 512 ? MOST_BLOCK_COLUMNS : n >= 128 ? 16 : 8; }

/* ---- threads ---- */

/* wait until all threads have done their part of a phase; the next one begins with all its work */
static void meet(Worker *self) {
    Engine *e = self->engine;
    if (e->n_threads == 1) {
        atomic_store(&e->counter, 0);
        return;
    }
    self->sense = !self->sense;
    if (atomic_fetch_sub(&e->waiting, 1) == 1) {
        atomic_store(&e->waiting, e->n_threads);
        atomic_store(&e->counter, 0);
        atomic_store(&e->sense, self->sense);
        return;
    }
    for (int64_t i = 0; atomic_load_explicit(&e->sense, memory_order_acquire) != self->sense; i++) {
        if (i > 4000) sched_yield();
#if defined(__x86_64__)
        else __builtin_ia32_pause();
#endif
    }
}

static inline int64_t take(Engine *e, int64_t n) { /* the next of n pieces of work, or n */
    return smaller(atomic_fetch_add(&e->counter, 1), n);
}

/* ---- parts of a layer ---- */

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
        n_tasks += n_rows * pieces(out, column_block(out));
    }
    for (int64_t t; (t = take(e, n_tasks)) < n_tasks;) {
        int64_t place = 0;
        const Product *p = products;
        for (;; p++) {
            int64_t here = n_rows * pieces(p->linear->out, column_block(p->linear->out));
            if (t < here) break;
            t -= here;
            if (p->linear->low) place += p->linear->padded;
        }
        const Linear *f = p->linear;
        int64_t width = column_block(f->out), n_columns = pieces(f->out, width);
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
    int64_t block = row_block(e->hidden), width = column_block(e->wide);
    int64_t n_columns = pieces(e->wide, width), n_tasks = pieces(rows, block) * n_columns;
    float *g = self->scratch, *u = g + block * width;
    for (int64_t t; (t = take(e, n_tasks)) < n_tasks;) {
        int64_t first = t / n_columns * block, m = smaller(block, rows - first);
        int64_t column = t % n_columns * width, n = smaller(width, e->wide - column);
        block_of(e, gate, 0, e->in, e->hidden, first, m, column, n, g, width, 0);
        block_of(e, up, behind, e->in, e->hidden, first, m, column, n, u, width, 0);
        for (int64_t i = 0; i < m; i++) {
            element *to = e->act + (first + i) * e->wide + column;
            for (int64_t j = 0; j < n; j++) {
                float x = g[i * width + j];
                to[j] = rounded(x / (1.0f + exponential(-x)) * u[i * width + j]);
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
            for (int64_t j = 0; j < width; j++) {
                float y = x[j] * inverse;
                lost &= y == 0.0f;
                to[j] = rounded(y * weight[j]);
            }
            e->lost[i] = lost;
        }
    meet(self);
}

static inline element *keys_of(const Engine *e, const Segment *s, int64_t page, int64_t layer,
                               int64_t kv_head) {
    int64_t place = (layer * e->kv_heads + kv_head) * 2 * PAGE * e->head_dim;
    return (element *)s->pages[page] + place;
}

/* rotary positions (Su et al. 2021, arXiv:2104.09864); keys and values go into their pages */
static void rotate(Worker *self, int64_t layer, const int64_t *asks, int64_t n_asks) {
    Engine *e = self->engine;
    const int64_t dim = e->head_dim, half = dim / 2, n_kv = e->kv_heads;
    const int64_t block = 8, n_keys = pieces(e->n_tokens, block), n_all = n_keys + pieces(n_asks, block);
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
                element *values = keys + PAGE * dim + slot / PER_LANE * PER_LANE * dim + slot % PER_LANE;
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

/* ---- attention ---- */

typedef struct { /* of queries that go through pages together */
    vector sum[MOST_QUERIES]; /* of weights, lane by lane */
    float most[MOST_QUERIES];
    float out[MOST_QUERIES][MOST_HEAD_DIM];
} Softmax;

/* N queries of rows that see `limits` positions of a segment, from query `at` of the softmax on */
#define ATTEND(N)                                                                                \
    static void attend_##N(                                                                      \
        const Engine *e, const Segment *s, int64_t layer, int64_t kv_head,                       \
        const element *const *q, const int64_t *limits, Softmax *state, int at) {                \
        const int64_t dim = e->head_dim;                                                         \
        const float scale = 1.0f / sqrtf((float)dim);                                            \
        int64_t furthest = limits[0], nearest = limits[0];                                       \
        for (int n = 1; n < N; n++) {                                                            \
            furthest = larger(furthest, limits[n]);                                              \
            nearest = smaller(nearest, limits[n]);                                               \
        }                                                                                        \
        const int64_t n_pages = pieces(furthest, PAGE);                                          \
        for (int64_t page = 0; page < n_pages; page++) {                                         \
            const element *keys = keys_of(e, s, page, layer, kv_head);                           \
            const element *values = keys + PAGE * dim;                                           \
            /* asked for while this one is multiplied */                                         \
            const element *next = page + 1 < n_pages ? keys_of(e, s, page + 1, layer, kv_head)   \
                                                     : keys;                                     \
            vector score[N][PAGE_VECTORS];                                                       \
            UNROLLED for (int n = 0; n < N; n++)                                                 \
                UNROLLED for (int v = 0; v < PAGE_VECTORS; v++) score[n][v] = (vector){0};       \
            for (int64_t d = 0; d < dim; d += PER_LANE) {                                        \
                pack k[PAGE_VECTORS];                                                            \
                UNROLLED for (int v = 0; v < PAGE_VECTORS; v++)                                  \
                {                                                                                \
                    k[v] = load_pack(keys + d * PAGE + v * PACK);                                \
                    __builtin_prefetch(next + d * PAGE + v * PACK);                              \
                }                                                                                \
                UNROLLED for (int n = 0; n < N; n++) {                                           \
                    pack one = spread_pack(q[n] + d);                                            \
                    UNROLLED for (int v = 0; v < PAGE_VECTORS; v++)                              \
                        score[n][v] = multiply_add(score[n][v], k[v], one);                      \
                }                                                                                \
            }                                                                                    \
            UNROLLED for (int n = 0; n < N; n++)                                                 \
                UNROLLED for (int v = 0; v < PAGE_VECTORS; v++) score[n][v] *= scale;            \
            const int hides = (page + 1) * PAGE > nearest; /* something from somebody */         \
            if (hides)                                                                           \
                UNROLLED for (int n = 0; n < N; n++)                                             \
                    UNROLLED for (int v = 0; v < PAGE_VECTORS; v++)                              \
                        score[n][v] = chosen(                                                    \
                            seen(limits[n] - page * PAGE - v * LANES), score[n][v],              \
                            (vector){0} - INFINITY);                                             \
            float tops[LANES] = {0}, before[LANES] = {0}, kept[LANES];                           \
            UNROLLED for (int n = 0; n < N; n++) {                                               \
                vector most = score[n][0];                                                       \
                UNROLLED for (int v = 1; v < PAGE_VECTORS; v++)                                  \
                    most = largest(most, score[n][v]);                                           \
                tops[n] = largest_of(most);                                                      \
                before[n] = state->most[at + n];                                                 \
            }                                                                                    \
            vector earlier = *(const vector *)before;                                            \
            vector top = largest(*(const vector *)tops, earlier);                                \
            *(vector *)tops = top;                                                               \
            *(vector *)kept = exponentials(earlier - top);                                       \
            element weights[N][PAGE];                                                            \
            UNROLLED for (int n = 0; n < N; n++) {                                               \
                UNROLLED for (int v = 0; v < PAGE_VECTORS; v++)                                  \
                    score[n][v] = exponentials(score[n][v] - tops[n]);                           \
                if (hides)                                                                       \
                    UNROLLED for (int v = 0; v < PAGE_VECTORS; v++)                              \
                        score[n][v] = chosen(                                                    \
                            seen(limits[n] - page * PAGE - v * LANES), score[n][v],              \
                            (vector){0});                                                        \
                state->most[at + n] = tops[n];                                                   \
                vector sum = state->sum[at + n] * kept[n];                                       \
                UNROLLED for (int v = 0; v < PAGE_VECTORS; v++) sum += score[n][v];              \
                state->sum[at + n] = sum;                                                        \
                round_page(score[n], weights[n]);                                                \
            }                                                                                    \
            int64_t d = 0;                                                                       \
            for (; d + 2 * LANES <= dim; d += 2 * LANES) {                                       \
                vector out[N][2];                                                                \
                UNROLLED for (int n = 0; n < N; n++)                                             \
                    UNROLLED for (int v = 0; v < 2; v++) out[n][v] =                             \
                        kept[n] * *(const vector *)(state->out[at + n] + d + v * LANES);         \
                for (int64_t i = 0; i < PAGE; i += PER_LANE) {                                   \
                    const element *row = values + i * dim + d * PER_LANE;                        \
                    pack a = load_pack(row), b = load_pack(row + PACK);                          \
                    __builtin_prefetch(next + PAGE * dim + i * dim + d * PER_LANE);              \
                    __builtin_prefetch(next + PAGE * dim + i * dim + d * PER_LANE + PACK);       \
                    UNROLLED for (int n = 0; n < N; n++) {                                       \
                        pack one = spread_pack(weights[n] + i);                                  \
                        out[n][0] = multiply_add(out[n][0], a, one);                             \
                        out[n][1] = multiply_add(out[n][1], b, one);                             \
                    }                                                                            \
                }                                                                                \
                UNROLLED for (int n = 0; n < N; n++)                                             \
                    UNROLLED for (int v = 0; v < 2; v++)                                         \
                        *(vector *)(state->out[at + n] + d + v * LANES) = out[n][v];             \
            }                                                                                    \
            for (; d < dim; d += LANES)                                                          \
                for (int n = 0; n < N; n++) {                                                    \
                    vector out = kept[n] * *(const vector *)(state->out[at + n] + d);            \
                    for (int64_t i = 0; i < PAGE; i += PER_LANE)                                 \
                        out = multiply_add(                                                      \
                            out, load_pack(values + i * dim + d * PER_LANE),                     \
                            spread_pack(weights[n] + i));                                        \
                    *(vector *)(state->out[at + n] + d) = out;                                   \
                }                                                                                \
        }                                                                                        \
    }

typedef void (*Attend)(
    const Engine *, const Segment *, int64_t, int64_t, const element *const *, const int64_t *,
    Softmax *, int);

ATTEND(1)
#if QUERIES >= 3
ATTEND(2)
ATTEND(3)
#endif
#if QUERIES >= 6
ATTEND(4)
ATTEND(5)
ATTEND(6)
#endif
static const Attend ATTENDS[] = {
    attend_1,
#if QUERIES >= 3
    attend_2, attend_3,
#endif
#if QUERIES >= 6
    attend_4, attend_5, attend_6,
#endif
};

static void attend(Worker *self, int64_t layer, const Tasks *tasks, const int64_t *asks) {
    Engine *e = self->engine;
    const int64_t group = e->heads / e->kv_heads, dim = e->head_dim;
    Softmax state;
    for (int64_t t; (t = take(e, tasks->n)) < tasks->n;) {
        const Task *task = tasks->list + t;
        const element *q[MOST_QUERIES];
        int64_t token[MOST_QUERIES] = {0}, place[MOST_QUERIES], limits[MOST_QUERIES];
        int n = (int)task->count;
        for (int i = 0; i < n; i++) {
            int64_t query = task->begin + i, asking = task->first + query / group;
            token[i] = asks[asking];
            place[i] = (asking * e->heads + task->kv_head * group + query % group) * dim;
            q[i] = e->rotated + place[i];
            state.most[i] = -INFINITY;
            state.sum[i] = (vector){0};
            memset(state.out[i], 0, (size_t)dim * sizeof(float));
        }
        int64_t shared = e->shared[token[0]];
        if (shared >= 0) {
            for (int i = 0; i < n; i++) limits[i] = e->segments[shared].length;
            ATTENDS[n - 1](
                e, e->segments + shared, layer, task->kv_head, q, limits, &state, 0);
        }
        for (int i = 0; i < n;) {
            int m = 0;
            for (; i + m < n && e->own[token[i + m]] == e->own[token[i]]; m++)
                limits[m] = e->at[token[i + m]] + 1;
            ATTENDS[m - 1](
                e, e->segments + e->own[token[i]], layer, task->kv_head, q + i, limits, &state, i);
            i += m;
        }
        for (int i = 0; i < n; i++) {
            float sum = total(state.sum[i]);
            for (int64_t d = 0; d < dim; d++)
                e->attended[place[i] + d] = rounded(state.out[i][d] / sum);
        }
    }
    meet(self);
}

/* how the queries of asking tokens are divided into tasks */
static int divide(Engine *e, Tasks *tasks, const int64_t *asks, int64_t n_asks) {
    const int64_t group = e->heads / e->kv_heads;
    tasks->n = tasks->pairs = 0;
    for (int64_t first = 0, end; first < n_asks; first = end) {
        int64_t shared = e->shared[asks[first]], own = e->own[asks[first]];
        for (end = first + 1; end < n_asks && e->shared[asks[end]] == shared &&
                              (shared >= 0 || e->own[asks[end]] == own);)
            end++;
        for (int64_t kv_head = 0; kv_head < e->kv_heads; kv_head++)
            for (int64_t begin = 0; begin < (end - first) * group; begin += QUERIES) {
                if (tasks->n == tasks->room) {
                    int64_t room = larger(256, 2 * tasks->room);
                    Task *list = realloc(tasks->list, (size_t)room * sizeof *list);
                    if (!list) return -1;
                    tasks->list = list, tasks->room = room;
                }
                Task *task = tasks->list + tasks->n++;
                *task = (Task){first, begin, smaller(QUERIES, (end - first) * group - begin), kv_head};
                int64_t n = task->count;
                if (shared >= 0) tasks->pairs += n * pieces(e->segments[shared].length, PAGE) * PAGE;
                for (int64_t i = 0; i < n;) { /* rows one after the other, as in `attend` */
                    int64_t token = asks[first + (begin + i) / group], m = 0, furthest = 0;
                    for (; i + m < n; m++) {
                        int64_t other = asks[first + (begin + i + m) / group];
                        if (e->own[other] != e->own[token]) break;
                        furthest = larger(furthest, e->at[other] + 1);
                    }
                    tasks->pairs += m * pieces(furthest, PAGE) * PAGE;
                    i += m;
                }
            }
    }
    return 0;
}

/* ---- a call ---- */

static void run(Worker *self, int leads) {
    Engine *e = self->engine;
    const int64_t n = e->n_tokens, hidden = e->hidden;
    const int64_t q_width = e->heads * e->head_dim, k_width = e->kv_heads * e->head_dim;
    for (int64_t i; (i = take(e, n)) < n;)
        for (int64_t j = 0; j < hidden; j++)
            e->x[i * hidden + j] = widened(e->embedding[e->ids[i] * hidden + j]);
    meet(self);
    int64_t rows = n;
    const int64_t *asks = e->all;
    for (int64_t l = 0; l < e->n_layers; l++) {
        const Layer *layer = e->layers + l;
        int last = l == e->n_layers - 1;
        norm(self, layer->before_attention, n);
        Product products[3] = {
            {&layer->linear[K], e->keys_values, 2 * k_width, 0},
            {&layer->linear[V], e->keys_values + k_width, 2 * k_width, 0},
            {&layer->linear[Q], e->queries, q_width, 0},
        };
        if (last) { /* from here on only what is wanted matters */
            project(self, products, 2, e->in, hidden, n);
            rows = e->n_want, asks = e->want;
            if (leads)
                for (int64_t i = 0; i < rows; i++) { /* wanted tokens come in order */
                    memmove(e->x + i * hidden, e->x + asks[i] * hidden, hidden * sizeof(float));
                    memmove(e->in + i * hidden, e->in + asks[i] * hidden, hidden * sizeof(element));
                }
            meet(self);
            project(self, products + 2, 1, e->in, hidden, rows);
        } else {
            project(self, products, 3, e->in, hidden, n);
        }
        rotate(self, l, asks, rows);
        attend(self, l, last ? &e->last_tasks : &e->tasks, asks);
        Product out = {&layer->linear[O], e->x, hidden, 1};
        project(self, &out, 1, e->attended, q_width, rows);
        norm(self, layer->before_unit, rows);
        gated_unit(self, layer, rows);
        Product down = {&layer->linear[DOWN], e->x, hidden, 1};
        project(self, &down, 1, e->act, e->wide, rows);
    }
    norm(self, e->final_norm, rows);
    const Linear head = {.weight = e->head, .bias = e->head_bias, .in = hidden, .out = e->n_head};
    Product logits = {&head, e->logits, e->n_head, 0};
    project(self, &logits, 1, e->in, hidden, rows);
}

static void *work(void *given) {
    Worker *self = given;
    Engine *e = self->engine;
    int64_t seen = 0;
    for (;;) {
        pthread_mutex_lock(&e->mutex);
        while (e->generation == seen && !e->stop) pthread_cond_wait(&e->wake, &e->mutex);
        seen = e->generation;
        int stop = e->stop;
        pthread_mutex_unlock(&e->mutex);
        if (stop) break;
        run(self, 0);
    }
    free(self->scratch);
    free(self);
    return NULL;
}

/* ---- what engine.py calls ---- */

static Worker *worker(Engine *e) {
    Worker *self = calloc(1, sizeof *self);
    if (!self) return NULL;
    self->engine = e;
    self->scratch = malloc(2 * MOST_BLOCK_ROWS * MOST_BLOCK_COLUMNS * sizeof(float));
    if (!self->scratch) { free(self); return NULL; }
    return self;
}

int64_t pack_elements(void) { return PACK; }
int64_t vector_lanes(void) { return LANES; }
int64_t most_head_dim(void) { return MOST_HEAD_DIM; }

/* sizes: layers, hidden, heads, kv heads, head dim, wide, head rows, threads, low width
   shared: embedding, head, head bias, final norm
   parts: for each layer two norms, and for each linear layer weight, bias, A, B, in, out, rank,
   padded rank; scalings: for each layer and linear layer */
void *engine_open(
    const int64_t *sizes, double eps, const int64_t *shared, const int64_t *parts,
    const double *scalings) {
    Engine *e = calloc(1, sizeof *e);
    if (!e) return NULL;
    e->n_layers = sizes[0], e->hidden = sizes[1], e->heads = sizes[2], e->kv_heads = sizes[3];
    e->head_dim = sizes[4], e->wide = sizes[5], e->n_head = sizes[6];
    e->n_threads = 1;
    e->low_width = sizes[8];
    e->eps = (float)eps;
    e->embedding = (const element *)shared[0], e->head = (const element *)shared[1];
    e->head_bias = (const float *)shared[2], e->final_norm = (const float *)shared[3];
    e->page_bytes =
        e->n_layers * e->kv_heads * 2 * PAGE * e->head_dim * (int64_t)sizeof(element);
    e->layers = calloc((size_t)e->n_layers, sizeof *e->layers);
    if (!e->layers) { free(e); return NULL; }
    for (int64_t l = 0; l < e->n_layers; l++) {
        const int64_t *part = parts + l * (2 + 8 * LINEARS);
        e->layers[l].before_attention = (const float *)part[0];
        e->layers[l].before_unit = (const float *)part[1];
        for (int i = 0; i < LINEARS; i++) {
            const int64_t *p = part + 2 + 8 * i;
            e->layers[l].linear[i] = (Linear){
                (const element *)p[0], (const float *)p[1], (const element *)p[2],
                (const element *)p[3], p[4], p[5], p[6], p[7],
                (float)scalings[l * LINEARS + i]};
        }
    }
    pthread_mutex_init(&e->mutex, NULL);
    pthread_cond_init(&e->wake, NULL);
    int threads = (int)sizes[7];
    e->threads = calloc((size_t)threads, sizeof *e->threads);
    for (int i = 1; i < threads && e->threads; i++) {
        Worker *w = worker(e);
        if (!w || pthread_create(&e->threads[e->n_threads], NULL, work, w)) {
            if (w) { free(w->scratch); free(w); }
            break;
        }
        e->n_threads++;
    }
    atomic_store(&e->waiting, e->n_threads);
    return e;
}

/* cosines and sines of the angles of positions, each (positions, head dim / 2) */
void engine_positions(void *given, const float *cosines, const float *sines) {
    Engine *e = given;
    e->cosines = cosines, e->sines = sines;
}

static void give_page_back(Engine *e, char *page) {
    if (e->n_free == e->free_room) {
        int64_t room = larger(64, 2 * e->free_room);
        char **pages = realloc(e->free_pages, (size_t)room * sizeof *pages);
        if (!pages) { free(page); return; }
        e->free_pages = pages, e->free_room = room;
    }
    e->free_pages[e->n_free++] = page;
}

/* a segment keeps its first `length` positions; 0 frees it */
void segment_cut(void *given, int64_t which, int64_t length) {
    Engine *e = given;
    Segment *s = e->segments + which;
    s->length = smaller(s->length, length);
    while (s->n_pages > pieces(s->length, PAGE)) give_page_back(e, s->pages[--s->n_pages]);
}

static int extend(Engine *e, int64_t which, int64_t by) {
    if (which >= e->n_segments) {
        int64_t n = larger(which + 1, 2 * e->n_segments);
        Segment *all = realloc(e->segments, (size_t)n * sizeof *all);
        if (!all) return -1;
        memset(all + e->n_segments, 0, (size_t)(n - e->n_segments) * sizeof *all);
        e->segments = all, e->n_segments = n;
    }
    Segment *s = e->segments + which;
    while (s->n_pages * PAGE < s->length + by) {
        if (s->n_pages == s->room) {
            int64_t room = larger(8, 2 * s->room);
            char **pages = realloc(s->pages, (size_t)room * sizeof *pages);
            if (!pages) return -1;
            s->pages = pages, s->room = room;
        }
        char *page = e->n_free ? e->free_pages[--e->n_free] : NULL;
        if (!page && posix_memalign((void **)&page, 64, (size_t)e->page_bytes)) return -1;
        memset(page, 0, (size_t)e->page_bytes); /* weights of 0 times what was there before */
        s->pages[s->n_pages++] = page;
    }
    s->length += by;
    return 0;
}

static int make_room(Engine *e, int64_t n) {
    if (n <= e->room) return 0;
    const int64_t q_width = e->heads * e->head_dim, k_width = e->kv_heads * e->head_dim;
    struct { void **at; int64_t bytes; } buffers[] = {
        {(void **)&e->all, 8 * n}, {(void **)&e->own, 8 * n}, {(void **)&e->shared, 8 * n},
        {(void **)&e->at, 8 * n}, {(void **)&e->position, 8 * n}, {(void **)&e->lost, n},
        {(void **)&e->x, 4 * n * e->hidden}, {(void **)&e->queries, 4 * n * q_width},
        {(void **)&e->keys_values, 8 * n * k_width},
        {(void **)&e->low_sums, 4 * n * larger(1, e->low_width)},
        {(void **)&e->low, (int64_t)sizeof(element) * n * larger(1, e->low_width)},
        {(void **)&e->in, (int64_t)sizeof(element) * n * e->hidden},
        {(void **)&e->rotated, (int64_t)sizeof(element) * n * q_width},
        {(void **)&e->attended, (int64_t)sizeof(element) * n * q_width},
        {(void **)&e->act, (int64_t)sizeof(element) * n * e->wide},
    };
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        free(*buffers[i].at);
        *buffers[i].at = NULL;
        e->room = 0;
        void *fresh;
        if (posix_memalign(&fresh, 64, (size_t)buffers[i].bytes)) return -1;
        *buffers[i].at = fresh;
    }
    for (int64_t i = 0; i < n; i++) e->all[i] = i;
    e->room = n;
    return 0;
}

/* Have room for each row's tokens behind its segments.

   rows: of each its shared segment (or -1), its own, and its tokens; ids: all tokens, row by row;
   want: places in ids, in order. pairs: (query head, position) that were multiplied, in a layer
   and in the last one. Rows that share a segment stand together. 0, or -1 without memory. */
int engine_prepare(
    void *given, int64_t n_rows, const int64_t *rows, const int64_t *ids, int64_t n_want,
    const int64_t *want, int64_t *pairs) {
    Engine *e = given;
    int64_t n = 0;
    for (int64_t i = 0; i < n_rows; i++) n += rows[3 * i + 2];
    if (make_room(e, n)) return -1;
    for (int64_t i = 0, t = 0; i < n_rows; i++) {
        int64_t shared = rows[3 * i], own = rows[3 * i + 1], count = rows[3 * i + 2];
        if (extend(e, own, count) || (shared >= 0 && extend(e, shared, 0))) return -1;
        int64_t before = shared < 0 ? 0 : e->segments[shared].length;
        for (int64_t j = 0; j < count; j++, t++) {
            e->own[t] = own, e->shared[t] = shared;
            e->at[t] = e->segments[own].length - count + j;
            e->position[t] = before + e->at[t];
        }
    }
    e->n_tokens = n, e->ids = ids, e->n_want = n_want, e->want = want;
    if (divide(e, &e->tasks, e->all, n) || divide(e, &e->last_tasks, want, n_want)) return -1;
    pairs[0] = e->tasks.pairs, pairs[1] = e->last_tasks.pairs;
    return 0;
}

/* feed what was prepared: logits (wanted tokens, head rows). 0, or -1 without memory */
int engine_run(void *given, float *logits) {
    Engine *e = given;
    e->logits = logits;
    atomic_store(&e->counter, 0);
    Worker *self = worker(e);
    if (!self) return -1;
    self->sense = atomic_load(&e->sense);
    pthread_mutex_lock(&e->mutex);
    e->generation++;
    pthread_cond_broadcast(&e->wake);
    pthread_mutex_unlock(&e->mutex);
    run(self, 1);
    for (int64_t i = 0; i < e->n_want; i++)
        if (e->lost[i]) /* a norm makes zeros of what is too large to be squared */
            for (int64_t j = 0; j < e->n_head; j++) logits[i * e->n_head + j] = NAN;
    free(self->scratch);
    free(self);
    return 0;
}

/* a segment's keys and values in a layer, each (kv heads, length, head dim) */
void segment_read(void *given, int64_t which, int64_t layer, float *keys, float *values) {
    Engine *e = given;
    const Segment *s = e->segments + which;
    const int64_t dim = e->head_dim;
    for (int64_t h = 0; h < e->kv_heads; h++)
        for (int64_t i = 0; i < s->length; i++) {
            const element *k = keys_of(e, s, i / PAGE, layer, h);
            int64_t slot = i % PAGE;
            for (int64_t d = 0; d < dim; d++, keys++, values++) {
                *keys = widened(k[d / PER_LANE * PAGE * PER_LANE + slot * PER_LANE + d % PER_LANE]);
                *values = widened(
                    k[PAGE * dim + (slot / PER_LANE * dim + d) * PER_LANE + slot % PER_LANE]);
            }
        }
}

void engine_close(void *given) {
    Engine *e = given;
    pthread_mutex_lock(&e->mutex);
    e->stop = 1;
    pthread_cond_broadcast(&e->wake);
    pthread_mutex_unlock(&e->mutex);
    for (int i = 1; i < e->n_threads; i++) pthread_join(e->threads[i], NULL);
    for (int64_t i = 0; i < e->n_segments; i++) {
        Segment *s = e->segments + i;
        while (s->n_pages) free(s->pages[--s->n_pages]);
        free(s->pages);
    }
    while (e->n_free) free(e->free_pages[--e->n_free]);
    void *owned[] = {
        e->free_pages, e->segments, e->layers, e->threads, e->tasks.list, e->last_tasks.list,
        e->all, e->own, e->shared, e->at, e->position, e->lost, e->x, e->queries, e->keys_values,
        e->low_sums, e->low, e->in, e->rotated, e->attended, e->act};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
    pthread_mutex_destroy(&e->mutex);
    pthread_cond_destroy(&e->wake);
    free(e);
}
