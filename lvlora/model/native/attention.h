/* Attention to shared and own segments, page by page. */

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
                UNROLLED for (int v = 0; v < PAGE_VECTORS; v++)                                  \
                    store_rounded(score[n][v], weights[n] + v * LANES);                          \
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
            for (int64_t d = 0; d < dim; d += LANES)
                store_rounded(
                    *(const vector *)(state.out[i] + d) / sum, e->attended + place[i] + d);
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
