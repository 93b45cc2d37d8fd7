/* Segments of keys and values, and the memory that they are cut from.

   A segment is in one piece, which in each layer goes page by page and in a page head by head: what
   attention reads of it follows one another. Pieces of 8 KiB here and there were read at a third of
   the speed, because a processor asks for memory ahead only where it sees it run on. A segment that
   outgrows its piece, which has room for what was expected of it, moves to one a quarter larger. */

static int give_back(Engine *e, char *begin, int64_t bytes) {
    if (!bytes) return 0;
    if (e->n_holes == e->holes_room) {
        int64_t room = larger(64, 2 * e->holes_room);
        Hole *holes = realloc(e->holes, (size_t)room * sizeof *holes);
        if (!holes) return -1; /* it stays in its arena, unused */
        e->holes = holes, e->holes_room = room;
    }
    int64_t i = 0, last = e->n_holes; /* the first hole behind it */
    while (i < last) {
        int64_t middle = (i + last) / 2;
        if (e->holes[middle].begin < begin) i = middle + 1;
        else last = middle;
    }
    Hole *at = e->holes + i;
    int joins_left = i > 0 && at[-1].begin + at[-1].bytes == begin;
    int joins_right = i < e->n_holes && begin + bytes == at->begin;
    if (joins_left) {
        at[-1].bytes += bytes + (joins_right ? at->bytes : 0);
        if (joins_right) memmove(at, at + 1, (size_t)(--e->n_holes - i) * sizeof *at);
    } else if (joins_right) {
        *at = (Hole){begin, bytes + at->bytes};
    } else {
        memmove(at + 1, at, (size_t)(e->n_holes++ - i) * sizeof *at);
        *at = (Hole){begin, bytes};
    }
    return 0;
}

/* Pieces are cut from arenas of large pages of memory: of small ones the processor would look up
   two for each page of a layer, which took a seventh of a call. */
static int new_arena(Engine *e, int64_t bytes) {
    int64_t size = pieces(larger(bytes, ARENA_BYTES), HUGE_PAGE) * HUGE_PAGE;
    char **arenas = realloc(e->arenas, (size_t)(e->n_arenas + 1) * sizeof *arenas);
    if (!arenas) return -1;
    e->arenas = arenas;
    void *fresh;
    if (posix_memalign(&fresh, HUGE_PAGE, (size_t)size)) return -1;
#ifdef MADV_HUGEPAGE
    madvise(fresh, (size_t)size, MADV_HUGEPAGE); /* where it can't be had nothing is lost */
#endif
    e->arenas[e->n_arenas++] = fresh;
    return give_back(e, fresh, size);
}

/* from the smallest hole that is large enough */
static char *piece_of(Engine *e, int64_t bytes) {
    for (int again = 0; again < 2; again++) {
        Hole *best = NULL;
        for (Hole *hole = e->holes; hole < e->holes + e->n_holes; hole++)
            if (hole->bytes >= bytes && (!best || hole->bytes < best->bytes)) best = hole;
        if (best) {
            char *begin = best->begin;
            best->begin += bytes, best->bytes -= bytes;
            if (!best->bytes)
                memmove(
                    best, best + 1,
                    (size_t)(e->holes + --e->n_holes - best) * sizeof *best);
            return begin;
        }
        if (again || new_arena(e, bytes)) break;
    }
    return NULL;
}

static inline int64_t bytes_of_page(const Engine *e) { /* in a layer */
    return e->kv_heads * 2 * PAGE * e->head_dim * (int64_t)sizeof(element);
}

static inline element *keys_of(const Engine *e, const Segment *s, int64_t page, int64_t layer,
                               int64_t kv_head) {
    return (element *)(s->begin + (layer * s->room + page) * bytes_of_page(e)) +
           kv_head * 2 * PAGE * e->head_dim;
}

/* a segment keeps its first `length` positions; 0 frees it */
void segment_cut(void *given, int64_t which, int64_t length) {
    Engine *e = given;
    Segment *s = e->segments + which;
    s->length = smaller(s->length, length);
    s->n_pages = smaller(s->n_pages, pieces(s->length, PAGE));
    if (length) return;
    give_back(e, s->begin, e->n_layers * s->room * bytes_of_page(e));
    s->begin = NULL, s->room = 0;
}

static Segment *segment_of(Engine *e, int64_t which) {
    if (which >= e->n_segments) {
        int64_t n = larger(which + 1, 2 * e->n_segments);
        Segment *all = realloc(e->segments, (size_t)n * sizeof *all);
        if (!all) return NULL;
        memset(all + e->n_segments, 0, (size_t)(n - e->n_segments) * sizeof *all);
        e->segments = all, e->n_segments = n;
    }
    return e->segments + which;
}

/* a new segment's number of positions, as far as that is known. 0, or -1 without memory */
int segment_expect(void *given, int64_t which, int64_t positions) {
    Segment *s = segment_of(given, which);
    if (!s) return -1;
    s->expected = positions;
    return 0;
}

/* What a segment has not written has to be zeros, because weights of 0 are multiplied with it. They
   are written by all threads, at the beginning of a call: that is when a system gives memory, and
   it takes its time. */
static void blank(const Engine *e, int64_t i) { /* one layer of one segment */
    const Blank *b = e->blanks + i / e->n_layers;
    memset(b->begin + i % e->n_layers * b->stride, 0, (size_t)b->bytes);
}

static void blank_all(Engine *e) {
    for (int64_t i = 0; i < e->n_blanks * e->n_layers; i++) blank(e, i);
    e->n_blanks = 0;
}

static int to_blank(Engine *e, Blank b) {
    if (e->n_blanks == e->blanks_room) {
        int64_t room = larger(64, 2 * e->blanks_room);
        Blank *blanks = realloc(e->blanks, (size_t)room * sizeof *blanks);
        if (!blanks) return -1;
        e->blanks = blanks, e->blanks_room = room;
    }
    e->blanks[e->n_blanks++] = b;
    return 0;
}

static int extend(Engine *e, int64_t which, int64_t by) {
    Segment *s = segment_of(e, which);
    if (!s) return -1;
    const int64_t page = bytes_of_page(e), n = pieces(s->length + by, PAGE);
    if (n > s->room) {
        int64_t room = s->room ? s->room + s->room / 4 : pieces(s->expected, PAGE);
        room = larger(n, room);
        char *begin = piece_of(e, e->n_layers * room * page);
        if (!begin) return -1;
        if (s->room) {
            blank_all(e); /* of what goes back nothing may be written any more */
            for (int64_t l = 0; l < e->n_layers; l++)
                memcpy(begin + l * room * page, s->begin + l * s->room * page, s->n_pages * page);
            give_back(e, s->begin, e->n_layers * s->room * page);
        }
        s->begin = begin, s->room = room;
    }
    if (n > s->n_pages) {
        Blank fresh = {s->begin + s->n_pages * page, s->room * page, (n - s->n_pages) * page};
        if (to_blank(e, fresh)) return -1;
        s->n_pages = n;
    }
    s->length += by;
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
