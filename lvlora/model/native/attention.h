/* Attention to shared and own segments, page by page. */

typedef struct { /* of queries that go through pages together */
    vector sum[MOST_QUERIES]; /* of weights, lane by lane */
    float most[MOST_QUERIES];
    float out[MOST_QUERIES][MOST_HEAD_DIM];
} Softmax;

/* N queries of a key/value head go through a page, as query `at` of the softmax and those behind
   it. `left`: positions that each sees from the page's first on; `next`: the page to be asked for
   while this one is multiplied. */
#define ATTEND(N)                                                                                \
    static void attend_##N(                                                                      \
        const int64_t dim, const element *keys, const element *next, const element *const *q,    \
        const int64_t *left, Softmax *state, int at) {                                           \
        const float scale = 1.0f / sqrtf((float)dim);                                            \
        const element *values = keys + PAGE * dim;                                               \
        int64_t nearest = left[0];                                                               \
        for (int n = 1; n < N; n++) nearest = smaller(nearest, left[n]);                         \
        vector score[N][PAGE_VECTORS];                                                           \
        UNROLLED for (int n = 0; n < N; n++)                                                     \
            UNROLLED for (int v = 0; v < PAGE_VECTORS; v++) score[n][v] = (vector){0};           \
        for (int64_t d = 0; d < dim; d += PER_LANE) {                                            \
            pack k[PAGE_VECTORS];                                                                \
            UNROLLED for (int v = 0; v < PAGE_VECTORS; v++) {                                    \
                k[v] = load_pack(keys + d * PAGE + v * PACK);                                    \
                ask_for(next + d * PAGE + v * PACK);                                             \
            }                                                                                    \
            UNROLLED for (int n = 0; n < N; n++) {                                               \
                pack one = spread_pack(q[n] + d);                                                \
                UNROLLED for (int v = 0; v < PAGE_VECTORS; v++)                                  \
                    score[n][v] = multiply_add(score[n][v], k[v], one);                          \
            }                                                                                    \
        }                                                                                        \
        UNROLLED for (int n = 0; n < N; n++)                                                     \
            UNROLLED for (int v = 0; v < PAGE_VECTORS; v++) score[n][v] *= scale;                \
        const int hides = nearest < PAGE; /* something from somebody */                          \
        if (hides)                                                                               \
            UNROLLED for (int n = 0; n < N; n++)                                                 \
                UNROLLED for (int v = 0; v < PAGE_VECTORS; v++)                                  \
                    score[n][v] = chosen(                                                        \
                        seen(left[n] - v * LANES), score[n][v], (vector){0} - INFINITY);         \
        float tops[LANES] = {0}, before[LANES] = {0}, kept[LANES];                               \
        UNROLLED for (int n = 0; n < N; n++) {                                                   \
            vector most = score[n][0];                                                           \
            UNROLLED for (int v = 1; v < PAGE_VECTORS; v++) most = largest(most, score[n][v]);   \
            tops[n] = largest_of(most);                                                          \
            before[n] = state->most[at + n];                                                     \
        }                                                                                        \
        vector earlier = *(const vector *)before;                                                \
        vector top = largest(*(const vector *)tops, earlier);                                    \
        *(vector *)tops = top;                                                                   \
        *(vector *)kept = exponentials(earlier - top);                                           \
        element weights[N][PAGE];                                                                \
        UNROLLED for (int n = 0; n < N; n++) {                                                   \
            UNROLLED for (int v = 0; v < PAGE_VECTORS; v++)                                      \
                score[n][v] = exponentials(score[n][v] - tops[n]);                               \
            if (hides)                                                                           \
                UNROLLED for (int v = 0; v < PAGE_VECTORS; v++)                                  \
                    score[n][v] =                                                                \
                        chosen(seen(left[n] - v * LANES), score[n][v], (vector){0});             \
            state->most[at + n] = tops[n];                                                       \
            vector sum = state->sum[at + n] * kept[n];                                           \
            UNROLLED for (int v = 0; v < PAGE_VECTORS; v++) sum += score[n][v];                  \
            state->sum[at + n] = sum;                                                            \
            UNROLLED for (int v = 0; v < PAGE_VECTORS; v++)                                      \
                store_rounded(score[n][v], weights[n] + v * LANES);                              \
        }                                                                                        \
        int64_t d = 0;                                                                           \
        for (; d + 2 * LANES <= dim; d += 2 * LANES) {                                           \
            vector out[N][2];                                                                    \
            UNROLLED for (int n = 0; n < N; n++)                                                 \
                UNROLLED for (int v = 0; v < 2; v++) out[n][v] =                                 \
                    kept[n] * *(const vector *)(state->out[at + n] + d + v * LANES);             \
            for (int64_t i = 0; i < PAGE; i += PER_LANE) {                                       \
                const element *row = values + i * dim + d * PER_LANE;                            \
                pack a = load_pack(row), b = load_pack(row + PACK);                              \
                ask_for(next + PAGE * dim + i * dim + d * PER_LANE);                             \
                ask_for(next + PAGE * dim + i * dim + d * PER_LANE + PACK);                      \
                UNROLLED for (int n = 0; n < N; n++) {                                           \
                    pack one = spread_pack(weights[n] + i);                                      \
                    out[n][0] = multiply_add(out[n][0], a, one);                                 \
                    out[n][1] = multiply_add(out[n][1], b, one);                                 \
                }                                                                                \
            }                                                                                    \
            UNROLLED for (int n = 0; n < N; n++)                                                 \
                UNROLLED for (int v = 0; v < 2; v++)                                             \
                    *(vector *)(state->out[at + n] + d + v * LANES) = out[n][v];                 \
        }                                                                                        \
        for (; d < dim; d += LANES)                                                              \
            for (int n = 0; n < N; n++) {                                                        \
                vector out = kept[n] * *(const vector *)(state->out[at + n] + d);                \
                for (int64_t i = 0; i < PAGE; i += PER_LANE)                                     \
                    out = multiply_add(                                                          \
                        out, load_pack(values + i * dim + d * PER_LANE),                         \
                        spread_pack(weights[n] + i));                                            \
                *(vector *)(state->out[at + n] + d) = out;                                       \
            }                                                                                    \
    }

typedef void (*Attend)(
    int64_t, const element *, const element *, const element *const *, const int64_t *, Softmax *,
    int);

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

/* Queries of some key/value heads go through a segment: page by page, in each head by head, in the
   order in which it lies in memory. Of each head `n` queries, as query `at` of its softmax and
   those behind it, that see `limits` positions. */
static void go_through(
    const Engine *e, const Segment *s, int64_t layer, int64_t first_head, int64_t n_heads,
    const element *(*q)[MOST_QUERIES], const int64_t *limits, Softmax *state, int at, int n) {
    int64_t furthest = 0, left[MOST_QUERIES];
    for (int i = 0; i < n; i++) furthest = larger(furthest, limits[i]);
    const int64_t n_pages = pieces(furthest, PAGE);
    for (int64_t page = 0; page < n_pages; page++) {
        for (int i = 0; i < n; i++) left[i] = limits[i] - page * PAGE;
        for (int64_t h = 0; h < n_heads; h++) {
            const element *keys = keys_of(e, s, page, layer, first_head + h);
            const element *next = h + 1 < n_heads ? keys_of(e, s, page, layer, first_head + h + 1)
                                                  : keys_of(e, s, page + 1, layer, first_head);
            ATTENDS[n - 1](e->head_dim, keys, next, q[h] + at, left, state + h, at);
        }
    }
}

static void attend(Worker *self, int64_t layer, const Tasks *tasks, const int64_t *asks) {
    Engine *e = self->engine;
    const int64_t group = e->heads / e->kv_heads, dim = e->head_dim;
    Softmax state[MOST_HEADS];
    for (int64_t t; (t = take(e, tasks->n)) < tasks->n;) {
        const Task *task = tasks->list + t;
        const element *q[MOST_HEADS][MOST_QUERIES];
        int64_t token[MOST_QUERIES] = {0}, place[MOST_QUERIES], limits[MOST_QUERIES];
        const int n = (int)task->count;
        for (int i = 0; i < n; i++) {
            int64_t query = task->begin + i, asking = task->first + query / group;
            token[i] = asks[asking];
            place[i] = (asking * e->heads + task->first_head * group + query % group) * dim;
            for (int64_t h = 0; h < task->n_heads; h++) {
                q[h][i] = e->rotated + place[i] + h * group * dim;
                state[h].most[i] = -INFINITY;
                state[h].sum[i] = (vector){0};
                memset(state[h].out[i], 0, (size_t)dim * sizeof(float));
            }
        }
        int64_t shared = e->shared[token[0]];
        if (shared >= 0) {
            for (int i = 0; i < n; i++) limits[i] = e->segments[shared].length;
            go_through(
                e, e->segments + shared, layer, task->first_head, task->n_heads, q, limits, state,
                0, n);
        }
        for (int i = 0; i < n;) {
            int m = 0;
            for (; i + m < n && e->own[token[i + m]] == e->own[token[i]]; m++)
                limits[m] = e->at[token[i + m]] + 1;
            go_through(
                e, e->segments + e->own[token[i]], layer, task->first_head, task->n_heads, q,
                limits, state, i, m);
            i += m;
        }
        for (int64_t h = 0; h < task->n_heads; h++)
            for (int i = 0; i < n; i++) {
                float sum = total(state[h].sum[i]);
                element *to = e->attended + place[i] + h * group * dim;
                for (int64_t d = 0; d < dim; d += LANES)
                    store_rounded(*(const vector *)(state[h].out[i] + d) / sum, to + d);
            }
    }
    meet(self);
}

/* how the queries of asking tokens are divided into tasks */
static int divide(Engine *e, Tasks *tasks, const int64_t *asks, int64_t n_asks) {
    const int64_t group = e->heads / e->kv_heads;
    int64_t n_heads = n_asks * group / QUERIES >= ENOUGH_TASKS * e->n_threads ? MOST_HEADS : 1;
    tasks->n = tasks->pairs = 0;
    for (int64_t first = 0, end; first < n_asks; first = end) {
        int64_t shared = e->shared[asks[first]], own = e->own[asks[first]];
        for (end = first + 1; end < n_asks && e->shared[asks[end]] == shared &&
                              (shared >= 0 || e->own[asks[end]] == own);)
            end++;
        for (int64_t head = 0; head < e->kv_heads; head += n_heads)
            for (int64_t begin = 0; begin < (end - first) * group; begin += QUERIES) {
                if (tasks->n == tasks->room) {
                    int64_t room = larger(256, 2 * tasks->room);
                    Task *list = realloc(tasks->list, (size_t)room * sizeof *list);
                    if (!list) return -1;
                    tasks->list = list, tasks->room = room;
                }
                Task *task = tasks->list + tasks->n++;
                *task = (Task){
                    first, begin, smaller(QUERIES, (end - first) * group - begin), head,
                    smaller(n_heads, e->kv_heads - head)};
                int64_t n = task->count, pages = 0;
                if (shared >= 0) pages += n * pieces(e->segments[shared].length, PAGE);
                for (int64_t i = 0; i < n;) { /* rows one after the other, as in `attend` */
                    int64_t token = asks[first + (begin + i) / group], m = 0, furthest = 0;
                    for (; i + m < n; m++) {
                        int64_t other = asks[first + (begin + i + m) / group];
                        if (e->own[other] != e->own[token]) break;
                        furthest = larger(furthest, e->at[other] + 1);
                    }
                    pages += m * pieces(furthest, PAGE);
                    i += m;
                }
                tasks->pairs += task->n_heads * pages * PAGE;
            }
    }
    return 0;
}
