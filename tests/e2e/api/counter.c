/* A counter: a plugin in C with methods of all three kinds, state, self-test, and host services. With one
 * of the MISTAKE_ macros, it breaks the contract of the header in one place. */
#include <stdatomic.h>
#include <stdio.h>

#include "jackfield_plugin.h"

#ifndef PACKAGE
#define PACKAGE "counter"
#endif
#ifndef STEP
#define STEP 1
#endif

typedef struct counter {
    const jackfield_host *host;
    atomic_long count;
} counter;

/* Writes a number as JSON. */
static void end_with(jackfield_out *out, long number) {
    char text[32];
    snprintf(text, sizeof(text), "%ld", number);
    jackfield_done_json(out, text);
}

static void add(void *self, const void *call, jackfield_slice params, jackfield_out *out) {
    counter *own = self;
    (void)call;
    (void)params;
#ifdef MISTAKE_STATUS
    out->outcome->status = 77;
    return;
#endif
#ifdef MISTAKE_LENGTH
    out->sink->len = (size_t)1 << 40;
    out->outcome->status = JACKFIELD_DONE;
    return;
#endif
#ifdef MISTAKE_PENDING
    out->outcome->status = JACKFIELD_PENDING;
    return;
#endif
#ifdef MISTAKE_NOTHING
    return;
#endif
#ifdef MISTAKE_UTF8
    jackfield_done_json(out, "\"\xff\"");
    return;
#endif
#ifdef MISTAKE_JSON
    jackfield_done_json(out, "{\"open\":");
    return;
#endif
    end_with(out, atomic_fetch_add(&own->count, STEP) + STEP);
}

static void fail(void *self, const void *call, jackfield_slice params, jackfield_out *out) {
    (void)self;
    (void)call;
    if (params.len == 0) {
        jackfield_fail(out, JACKFIELD_INVALID_PARAMS, "params are missing", NULL);
        return;
    }
    jackfield_push(out, "half a result", 13);
    jackfield_fail(out, 404, "no such counter", "{\"asked\":true}");
}

/* Returns the bytes of its params, reversed. */
static void reverse(void *self, const void *call, jackfield_slice params, jackfield_out *out) {
    counter *own = self;
    if (own->host->table->call_content(call) != JACKFIELD_BYTES) {
        jackfield_fail(out, JACKFIELD_INVALID_PARAMS, "expected opaque bytes", NULL);
        return;
    }
    for (size_t at = params.len; at > 0; at--) {
        jackfield_push(out, params.ptr + at - 1, 1);
    }
    jackfield_done_bytes(out, NULL, 0);
}

/* Calls another method with its own params, and returns its result. */
static void forward(void *self, const void *call, jackfield_slice params, jackfield_out *out) {
    counter *own = self;
    own->host->table->call_wait(own->host->handle, call, jackfield_text("hello.greet"), params, 0, out->sink,
                                out->outcome);
}

static void describe_call(void *self, const void *call, jackfield_slice params, jackfield_out *out) {
    counter *own = self;
    jackfield_slice caller = own->host->table->call_caller(call);
    (void)params;
    jackfield_push(out, caller.ptr, caller.len);
    jackfield_done_json(out, "");
}

/* A future that sleeps through the host, and then counts. */
typedef struct later {
    counter *own;
    jackfield_future sleep;
} later_state;

static void later_poll(void *state, const jackfield_waker *waker, jackfield_sink *sink,
                       jackfield_outcome *outcome) {
    later_state *later = state;
    jackfield_out out = jackfield_begin_out(sink, outcome);
    later->sleep.poll(later->sleep.state, waker, sink, outcome);
    if (outcome->status == JACKFIELD_DONE) {
        end_with(&out, atomic_fetch_add(&later->own->count, STEP) + STEP);
    }
}

static void later_drop(void *state) {
    later_state *later = state;
    later->sleep.drop(later->sleep.state);
    free(later);
}

static void later(void *self, const void *call, jackfield_slice params, jackfield_future *future,
                  jackfield_out *out) {
    counter *own = self;
    const jackfield_host_table *table = own->host->table;
    later_state *state = malloc(sizeof(*state));
    (void)call;
    (void)params;
    if (state == NULL) {
        jackfield_fail(out, JACKFIELD_INTERNAL_ERROR, "out of memory", NULL);
        return;
    }
#ifdef MISTAKE_FUTURE
    free(state);
    return;
#endif
#ifdef MISTAKE_NULL
    free(state);
    memset(future, 0, sizeof(*future));
    return;
#endif
    state->own = own;
    state->sleep = table->sleep(own->host->handle, table->now(own->host->handle) + 1000000);
    future->state = state;
    future->poll = later_poll;
    future->drop = later_drop;
}

static void *start(const jackfield_host *host, jackfield_slice settings, jackfield_out *out) {
    counter *own = malloc(sizeof(*own));
    static const char refused[] = "\"refuse\"";
    for (size_t at = 0; at + sizeof(refused) - 1 <= settings.len; at++) {
        if (memcmp(settings.ptr + at, refused, sizeof(refused) - 1) == 0) {
            jackfield_fail(out, 1, "the settings say so", NULL);
            free(own);
            return NULL;
        }
    }
    own->host = host;
    atomic_init(&own->count, 0);
    jackfield_log(host, JACKFIELD_INFO, "the counter starts");
    return own;
}

static void stop(void *self) {
    free(self);
}

static void self_test(void *self, jackfield_out *out) {
    counter *own = self;
    if (atomic_load(&own->count) != 0) {
        jackfield_fail(out, 1, "a new counter has counted", NULL);
    }
}

static void export_state(void *self, jackfield_out *out) {
    counter *own = self;
    int64_t count = atomic_load(&own->count);
    jackfield_done_bytes(out, &count, sizeof(count));
}

static void import_state(void *self, uint32_t layout, jackfield_slice state, jackfield_out *out) {
    counter *own = self;
    int64_t count;
    if (layout != 1 || state.len != sizeof(count)) {
        jackfield_fail(out, 1, "the state has another layout", NULL);
        return;
    }
    memcpy(&count, state.ptr, sizeof(count));
    atomic_store(&own->count, count);
}

static void describe(uint32_t method, uint32_t part, jackfield_out *out) {
    if (method == 0 && part == 2) {
        jackfield_done_json(out, "{\"type\":\"integer\"}");
    }
}

#define METHODS(M)                     \
    M(INLINE, "c.add", add)            \
    M(BLOCKING, "c.slow", add)         \
    M(ASYNC, "c.later", later)         \
    M(INLINE, "c.fail", fail)          \
    M(INLINE, "c.reverse", reverse)    \
    M(BLOCKING, "c.forward", forward)  \
    M(INLINE, "c.caller", describe_call)

static const jackfield_lifecycle lifecycle = {
    .start = start,
    .stop = stop,
    .self_test = self_test,
    .export_state = export_state,
    .import_state = import_state,
    .describe = describe,
};
JACKFIELD_PLUGIN_WITH_STATE(PACKAGE, "0.1.0", 1, METHODS, lifecycle)
