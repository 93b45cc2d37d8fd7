/* Llama's and Qwen2's decoder for a few tokens of many rows: one call, no padding, no copies.

   Compiled by the machine's own C compiler when it is first wanted (building.py), once for float32
   weights and once for bfloat16 ones (-DBFLOAT16), and called through ctypes (engine.py).

   - Weights stay where they are: (out, in) row by row, as PyTorch has them. Products are dot
     products along the rows in tiles that fit into the registers (products.h) or, where the
     processor has AMX, in its tile registers (tiles.h).
   - Hidden states, sums, norms, softmax and activations are float32; in bfloat16 only what goes
     into a product is rounded.
   - Keys and values are in pages of PAGE positions, those of a segment and a layer one after the
     other (segments.h). A row attends to a shared segment (its history, read once for all its
     samples) and then to its own. Softmax is taken page by page (Milakov and Gimelshein 2018,
     arXiv:1805.02867).
   - Every number is a sum in an order that does not depend on other rows, on how tokens are
     divided into calls, or on threads: the same bits whatever the batch. */

#define _DEFAULT_SOURCE
#include <sys/mman.h>

#include "elements.h"
#include "products.h"
#include "tiles.h"
#include "engine.h"
#include "segments.h"
#include "layer.h"
#include "attention.h"

/* ---- a call ---- */

static void run(Worker *self, int leads) {
    Engine *e = self->engine;
    const int64_t n = e->n_tokens, hidden = e->hidden;
    const int64_t q_width = e->heads * e->head_dim, k_width = e->kv_heads * e->head_dim;
    const int64_t n_blanks = e->n_blanks * e->n_layers;
#ifdef HAVE_TILES
    TileConfig before = {0}; /* of PyTorch's products in this thread */
    if (e->tiles) STORE_CONFIG(&before);
#endif
    for (int64_t i; (i = take(e, n_blanks + n)) < n_blanks + n;) {
        if (i < n_blanks) {
            blank(e, i);
            continue;
        }
        i -= n_blanks;
        for (int64_t j = 0; j < hidden; j++)
            e->x[i * hidden + j] = widened(e->embedding[e->ids[i] * hidden + j]);
    }
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
            project(self, products, 2, e->in, n);
            rows = e->n_want, asks = e->want;
            if (leads)
                for (int64_t i = 0; i < rows; i++) { /* wanted tokens come in order */
                    memmove(e->x + i * hidden, e->x + asks[i] * hidden, hidden * sizeof(float));
                    memmove(e->in + i * hidden, e->in + asks[i] * hidden, hidden * sizeof(element));
                }
            meet(self);
            project(self, products + 2, 1, e->in, rows);
        } else {
            project(self, products, 3, e->in, n);
        }
        rotate(self, l, asks, rows);
        attend(self, l, last ? &e->last_tasks : &e->tasks, asks);
        Product out = {&layer->linear[O], e->x, hidden, 1};
        project(self, &out, 1, e->attended, rows);
        norm(self, layer->before_unit, rows);
        gated_unit(self, layer, rows);
        Product down = {&layer->linear[DOWN], e->x, hidden, 1};
        project(self, &down, 1, e->act, rows);
    }
    norm(self, e->final_norm, rows);
    const Linear head = {.weight = e->head, .bias = e->head_bias, .in = hidden, .out = e->n_head};
    Product logits = {&head, e->logits, e->n_head, 0};
    project(self, &logits, 1, e->in, rows);
#ifdef HAVE_TILES
    if (e->tiles) LOAD_CONFIG(&before);
#endif
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
#ifdef HAVE_TILES
    e->tiles = tiles_allowed();
#endif
    e->eps = (float)eps;
    e->embedding = (const element *)shared[0], e->head = (const element *)shared[1];
    e->head_bias = (const float *)shared[2], e->final_norm = (const float *)shared[3];
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

static int make_room(Engine *e, int64_t n) {
    if (n <= e->room) return 0;
    const int64_t q_width = e->heads * e->head_dim, k_width = e->kv_heads * e->head_dim;
    const int64_t whole = pieces(n, SIDE) * SIDE; /* rows of packed inputs */
    struct { void **at; int64_t bytes; } buffers[] = {
        {(void **)&e->all, 8 * n}, {(void **)&e->own, 8 * n}, {(void **)&e->shared, 8 * n},
        {(void **)&e->at, 8 * n}, {(void **)&e->position, 8 * n}, {(void **)&e->lost, n},
        {(void **)&e->x, 4 * n * e->hidden}, {(void **)&e->queries, 4 * n * q_width},
        {(void **)&e->keys_values, 8 * n * k_width},
        {(void **)&e->low_sums, 4 * n * larger(1, e->low_width)},
        {(void **)&e->low, (int64_t)sizeof(element) * whole * larger(1, e->low_width)},
        {(void **)&e->packed,
         (int64_t)sizeof(element) * whole * (e->tiles ? larger(q_width, larger(e->hidden, e->wide)) : 0)},
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
    blank_all(e); /* those of a call that was prepared and never run */
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
    e->n_blanks = 0;
    for (int64_t i = 0; i < e->n_want; i++)
        if (e->lost[i]) /* a norm makes zeros of what is too large to be squared */
            for (int64_t j = 0; j < e->n_head; j++) logits[i * e->n_head + j] = NAN;
    free(self->scratch);
    free(self);
    return 0;
}

void engine_close(void *given) {
    Engine *e = given;
    pthread_mutex_lock(&e->mutex);
    e->stop = 1;
    pthread_cond_broadcast(&e->wake);
    pthread_mutex_unlock(&e->mutex);
    for (int i = 1; i < e->n_threads; i++) pthread_join(e->threads[i], NULL);
    while (e->n_arenas) free(e->arenas[--e->n_arenas]);
    void *owned[] = {
        e->arenas, e->holes, e->blanks, e->segments, e->layers, e->threads, e->tasks.list,
        e->last_tasks.list, e->all, e->own, e->shared, e->at, e->position, e->lost, e->x,
        e->queries, e->keys_values, e->low_sums, e->low, e->in, e->rotated, e->attended, e->act,
        e->packed};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
    pthread_mutex_destroy(&e->mutex);
    pthread_cond_destroy(&e->wake);
    free(e);
}
