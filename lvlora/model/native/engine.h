/* What an engine has: a model, segments of keys and values, one call, threads. */

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

typedef struct { /* (layers, room, kv heads) pages, of which the first n_pages are in use */
    char *begin;
    int64_t n_pages, room, length, expected;
} Segment;

typedef struct { /* (layers) times so many bytes that have to be zeros, `stride` apart */
    char *begin;
    int64_t stride, bytes;
} Blank;

typedef struct { /* free memory */
    char *begin;
    int64_t bytes;
} Hole;

typedef struct { /* queries that go through pages together */
    int64_t first; /* asking token of the group's first query */
    int64_t begin; /* query in the group, of a head: token by token, in each by query heads */
    int64_t count;
    int64_t first_head, n_heads; /* key/value heads */
} Task;

typedef struct {
    Task *list;
    int64_t n, room, pairs; /* (query head, position) that are multiplied */
} Tasks;

typedef struct {
    int64_t n_layers, hidden, heads, kv_heads, head_dim, wide, n_head;
    int tiles; /* products are in AMX tiles (tiles.h) */
    float eps;
    const element *embedding, *head;
    const float *head_bias, *final_norm;
    const float *cosines, *sines; /* (positions, head dim / 2) */
    Layer *layers;
    Segment *segments;
    Hole *holes; /* by their places, none beside another */
    char **arenas;
    Blank *blanks;
    int64_t n_segments, n_holes, holes_room, n_arenas, n_blanks, blanks_room;
    /* of one call */
    int64_t n_tokens, n_want;
    const int64_t *ids, *want;
    int64_t *all; /* 0, 1, ... */
    int64_t *own, *shared, *at, *position; /* of each token: its segments, its place in its own */
    float *x, *queries, *keys_values, *low_sums, *logits;
    element *in, *rotated, *attended, *act, *low;
    element *packed; /* inputs of products in tiles */
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
