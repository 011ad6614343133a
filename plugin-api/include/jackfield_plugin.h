/* Jackfield plugins in C: the ABI between host and plugin, and helpers for authors.
 *
 * docs/c-plugins.md explains how a plugin is written. The structures and tables are those of
 * plugin-api/src/abi in Rust; a test compares sizes, offsets and the order of functions.
 *
 * Ownership, for every pointer:
 *
 * - Memory never changes its owner. Each side frees what it has allocated, with its own allocator.
 * - A `jackfield_slice` is lent for the duration of the call that it is passed to or returned by. The
 *   receiver copies what it needs longer. A slice that the host returns (`call_id`, `call_caller`, ...)
 *   is valid as long as the call is held.
 * - A `jackfield_sink` and a `jackfield_outcome` are lent for the duration of the call.
 * - `host` and `call` are reference-counted handles of the host. `host` is lent to `start` and stays
 *   valid only if `start` retains it; the helpers below do so, until `stop`. `call` is lent to a method,
 *   and a future that uses it later must retain it.
 * - `self`, the instance, belongs to the plugin: `start` makes it, `stop` frees it. The host calls no
 *   function with it after `stop`.
 * - The state of a future belongs to the side that made the future, and `drop` frees it, exactly once,
 *   also after the future was ready.
 * - A waker that is passed to `poll` is lent for that call. `clone` makes one that the future owns and
 *   must release with `release`.
 *
 * Threads: the host calls `call`, `begin`, `self_test`, `export_state` and `import_state` from several
 * threads at once. `start` comes first, `stop` last. Every thread that a plugin starts must have ended
 * when `stop` returns.
 *
 * Errors: no function may return by longjmp or by a C++ exception.
 */
#ifndef JACKFIELD_PLUGIN_H
#define JACKFIELD_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the plugin API that this header belongs to. */
#define JACKFIELD_API_VERSION "0.1.2"

/* The version of the two tables below. Functions are only appended to them, and the member `size` tells
 * how many there are, so this number changes only if a plugin must be built again. */
#define JACKFIELD_ABI 1u

/* Bytes that are lent. `ptr` may be any pointer if `len` is 0. */
typedef struct jackfield_slice {
    const uint8_t *ptr;
    size_t len;
} jackfield_slice;

/* The output of a call: the bytes up to `len` are written, those up to `cap` may be. Before more, call
 * `reserve`, which returns false if the output would be longer than `limit`. It may move the buffer. */
typedef struct jackfield_sink {
    uint8_t *ptr;
    size_t len;
    size_t cap;
    size_t limit;
    void *owner;
    bool (*reserve)(struct jackfield_sink *sink, size_t additional);
} jackfield_sink;

/* How a call ended. The host initializes the status with JACKFIELD_PANICKED. */
enum {
    JACKFIELD_DONE = 0,     /* the sink has the result */
    JACKFIELD_FAILED = 1,   /* the sink has `message_len` bytes of message, then `data` as JSON or nothing */
    JACKFIELD_PANICKED = 2, /* the sink has a text for the log of the host */
    JACKFIELD_PENDING = 3   /* only of `poll`: the future is not ready, and the sink is empty */
};

/* The type of params, and of a result that is JACKFIELD_DONE. */
enum { JACKFIELD_JSON = 0, JACKFIELD_BYTES = 3 };

typedef struct jackfield_outcome {
    uint8_t status;
    int64_t code; /* the error code; of a result JACKFIELD_JSON or JACKFIELD_BYTES */
    size_t message_len;
} jackfield_outcome;

/* Codes that a method may return besides its own, which are outside of -32768 to -32000. */
enum { JACKFIELD_INVALID_PARAMS = -32602, JACKFIELD_INTERNAL_ERROR = -32603 };

/* Wakes the task that polls a future. */
typedef struct jackfield_waker {
    const void *task;
    struct jackfield_waker (*clone)(const void *task);
    void (*wake)(const void *task); /* from any thread */
    void (*release)(const void *task);
} jackfield_waker;

typedef struct jackfield_future {
    void *state;
    /* Called by one thread at a time. After another outcome than JACKFIELD_PENDING, it is only dropped. */
    void (*poll)(void *state, const jackfield_waker *waker, jackfield_sink *out, jackfield_outcome *outcome);
    /* Frees the state. If the future was not ready, nobody waits for it any more. */
    void (*drop)(void *state);
} jackfield_future;

/* Levels of log messages. */
enum { JACKFIELD_ERROR = 1, JACKFIELD_WARN = 2, JACKFIELD_INFO = 3, JACKFIELD_DEBUG = 4, JACKFIELD_TRACE = 5 };

/* The functions of the host. `host` is the handle that `start` received; `call` and `parent` are those of
 * a running call. Every thread may call them. */
typedef struct jackfield_host_table {
    size_t size; /* of this structure in the host */
    uint32_t abi;
    void (*retain)(const void *host);
    void (*release)(const void *host);
    bool (*log_enabled)(const void *host, uint8_t level);
    void (*log)(const void *host, uint8_t level, jackfield_slice text);
    uint64_t (*now)(const void *host); /* nanoseconds of the monotonic clock of the host */
    /* Returns a future that the caller must drop. It is ready once `now` is at least `until`. */
    jackfield_future (*sleep)(const void *host, uint64_t until);
    /* Calls another method. The caller must drop the future; until it is ready, that cancels the call.
     * `timeout` is in nanoseconds, 0 for none of its own. */
    jackfield_future (*call)(const void *host, const void *parent, jackfield_slice method,
                             jackfield_slice params, uint64_t timeout);
    /* The same, and waits. Only `blocking` methods may wait. The plugin lends the sink. */
    void (*call_wait)(const void *host, const void *parent, jackfield_slice method, jackfield_slice params,
                      uint64_t timeout, jackfield_sink *out, jackfield_outcome *outcome);
    void (*call_retain)(const void *call);
    void (*call_release)(const void *call);
    uint64_t (*call_deadline)(const void *call); /* on the clock of `now` */
    bool (*call_cancelled)(const void *call);
    jackfield_slice (*call_id)(const void *call);
    uint32_t (*call_content)(const void *call); /* JACKFIELD_JSON or JACKFIELD_BYTES */
    jackfield_slice (*call_caller)(const void *call);      /* JSON */
    jackfield_slice (*call_metadata)(const void *call);    /* a JSON object with strings, or empty */
    jackfield_slice (*call_traceparent)(const void *call); /* for what the method calls, or empty */
    jackfield_slice (*call_tracestate)(const void *call);
    /* As `call` and `call_wait`, with params that are opaque bytes. */
    jackfield_future (*call_bytes)(const void *host, const void *parent, jackfield_slice method,
                                   jackfield_slice params, uint64_t timeout);
    void (*call_bytes_wait)(const void *host, const void *parent, jackfield_slice method,
                            jackfield_slice params, uint64_t timeout, jackfield_sink *out,
                            jackfield_outcome *outcome);
} jackfield_host_table;

/* The functions of a plugin. JACKFIELD_PLUGIN fills them in. */
typedef struct jackfield_plugin_table {
    size_t size; /* of this structure in the plugin */
    uint32_t abi;
    jackfield_slice (*manifest)(void); /* the bytes of the note in the file */
    void (*start)(const jackfield_host_table *table, const void *host, jackfield_slice settings,
                  const void **instance, jackfield_sink *out, jackfield_outcome *outcome);
    void (*call)(const void *instance, uint32_t method, const void *call, jackfield_slice params,
                 jackfield_sink *out, jackfield_outcome *outcome);
    void (*begin)(const void *instance, uint32_t method, const void *call, jackfield_slice params,
                  jackfield_future *future, jackfield_sink *out, jackfield_outcome *outcome);
    void (*self_test)(const void *instance, jackfield_sink *out, jackfield_outcome *outcome);
    void (*export_state)(const void *instance, jackfield_sink *out, jackfield_outcome *outcome);
    void (*import_state)(const void *instance, uint32_t layout, jackfield_slice state, jackfield_sink *out,
                         jackfield_outcome *outcome);
    /* May be NULL: writes the thread-specific keys of the plugin, and returns their number. */
    size_t (*thread_keys)(uint32_t *keys, size_t most);
    void (*stop)(const void *instance, jackfield_sink *out, jackfield_outcome *outcome);
    /* May be NULL: writes part `part` of the description of method `method` as JSON (docs/contracts.md). */
    void (*describe)(uint32_t method, uint32_t part, jackfield_sink *out, jackfield_outcome *outcome);
} jackfield_plugin_table;

/* ---- Helpers for authors ---- */

static inline jackfield_slice jackfield_text(const char *text) {
    jackfield_slice slice;
    slice.ptr = (const uint8_t *)text;
    slice.len = strlen(text);
    return slice;
}

/* Where a method or a lifecycle function writes its result or its error. */
typedef struct jackfield_out {
    jackfield_sink *sink;
    jackfield_outcome *outcome;
    size_t begin; /* the length of the output before the call */
} jackfield_out;

static inline jackfield_out jackfield_begin_out(jackfield_sink *sink, jackfield_outcome *outcome) {
    jackfield_out out;
    out.sink = sink;
    out.outcome = outcome;
    out.begin = sink->len;
    return out;
}

/* Appends bytes. Returns false, and appends nothing, if the output would be too long. */
static inline bool jackfield_push(jackfield_out *out, const void *bytes, size_t length) {
    jackfield_sink *sink = out->sink;
    if (sink->cap - sink->len < length && !sink->reserve(sink, length)) {
        return false;
    }
    if (length > 0) {
        memcpy(sink->ptr + sink->len, bytes, length);
        sink->len += length;
    }
    return true;
}

/* Ends with an error. `data` is JSON, or NULL. What was appended is removed. */
static inline void jackfield_fail(jackfield_out *out, int64_t code, const char *message, const char *data) {
    size_t length = strlen(message);
    out->sink->len = out->begin;
    out->outcome->status = JACKFIELD_FAILED;
    out->outcome->code = code;
    out->outcome->message_len = jackfield_push(out, message, length) ? length : 0;
    if (data != NULL && !jackfield_push(out, data, strlen(data))) {
        out->sink->len = out->begin;
        out->outcome->message_len = 0;
    }
}

static inline void jackfield_end(jackfield_out *out, const void *bytes, size_t length, int64_t content) {
    if (!jackfield_push(out, bytes, length)) {
        jackfield_fail(out, JACKFIELD_INTERNAL_ERROR, "the result is too large", NULL);
        return;
    }
    out->outcome->status = JACKFIELD_DONE;
    out->outcome->code = content;
    out->outcome->message_len = 0;
}

/* Ends with a result: what was appended before, and this text, are one JSON document. */
static inline void jackfield_done_json(jackfield_out *out, const char *json) {
    jackfield_end(out, json, strlen(json), JACKFIELD_JSON);
}

/* Ends with a result that is opaque bytes. */
static inline void jackfield_done_bytes(jackfield_out *out, const void *bytes, size_t length) {
    jackfield_end(out, bytes, length, JACKFIELD_BYTES);
}

/* Ends a lifecycle function that has no result. */
static inline void jackfield_done(jackfield_out *out) {
    jackfield_end(out, NULL, 0, JACKFIELD_JSON);
}

/* The host, as `start` receives it. It may be copied, and is valid until `stop` returns. */
typedef struct jackfield_host {
    const jackfield_host_table *table;
    const void *handle;
} jackfield_host;

static inline void jackfield_log(const jackfield_host *host, uint8_t level, const char *text) {
    host->table->log(host->handle, level, jackfield_text(text));
}

/* The functions of a plugin's life. Only `start` and `stop` are required. */
typedef struct jackfield_lifecycle {
    /* Returns the instance. On an error, calls jackfield_fail and returns NULL. `settings` is a JSON object. */
    void *(*start)(const jackfield_host *host, jackfield_slice settings, jackfield_out *out);
    /* Frees the instance. Every thread of the plugin has ended when it returns. */
    void (*stop)(void *self);
    /* Runs in the probe, before the plugin serves. */
    void (*self_test)(void *self, jackfield_out *out);
    /* Writes the state for the next generation with jackfield_done_bytes. */
    void (*export_state)(void *self, jackfield_out *out);
    /* Takes the state of a previous generation. `layout` is the number that it was exported with. */
    void (*import_state)(void *self, uint32_t layout, jackfield_slice state, jackfield_out *out);
    void (*describe)(uint32_t method, uint32_t part, jackfield_out *out);
} jackfield_lifecycle;

/* A method that runs to its end: it ends with jackfield_done_json, jackfield_done_bytes or jackfield_fail. */
typedef void (*jackfield_method)(void *self, const void *call, jackfield_slice params, jackfield_out *out);

/* An `async` method: writes `future`, or ends with jackfield_fail. `call` and `params` are lent until it
 * returns. */
typedef void (*jackfield_async_method)(void *self, const void *call, jackfield_slice params,
                                       jackfield_future *future, jackfield_out *out);

typedef struct jackfield_entry {
    jackfield_method run;
    jackfield_async_method begin;
} jackfield_entry;

/* What the host holds as the instance. */
typedef struct jackfield_instance {
    void *self;
    jackfield_host host;
} jackfield_instance;

#define JACKFIELD_RUN_INLINE "inline"
#define JACKFIELD_RUN_BLOCKING "blocking"
#define JACKFIELD_RUN_ASYNC "async"
#define JACKFIELD_ENTRY_INLINE(function) {function, NULL},
#define JACKFIELD_ENTRY_BLOCKING(function) {function, NULL},
#define JACKFIELD_ENTRY_ASYNC(function) {NULL, function},
#define JACKFIELD_ENTRY_OF(run, name, function) JACKFIELD_ENTRY_##run(function)

/* Each method ends with a comma, and the list with null, which the host ignores: the preprocessor cannot
 * omit the last comma. */
#define JACKFIELD_DECLARED(run, name, function) "{\"name\":\"" name "\",\"run\":\"" JACKFIELD_RUN_##run "\"},"

#define JACKFIELD_STRING_OF(value) #value
#define JACKFIELD_STRING(value) JACKFIELD_STRING_OF(value)

#define JACKFIELD_MANIFEST(package, version, state, methods)                                             \
    "{\"manifest\":1,\"abi\":\"c\",\"api\":\"" JACKFIELD_API_VERSION "\",\"package\":\"" package             \
    "\",\"version\":\"" version "\",\"panic\":\"unwind\"" state ",\"methods\":[" methods(JACKFIELD_DECLARED) \
    "null]}"

/* The manifest in the note, padded with zeros to a multiple of four bytes as ELF requires. Nothing may
 * follow it in the section, so there is no final NUL if the text needs no padding. */
#ifdef __cplusplus
#define JACKFIELD_EXTERN extern "C"
}
template <size_t LEN> struct jackfield_note_text {
    char bytes[(LEN + 2) / 4 * 4];
    constexpr explicit jackfield_note_text(const char (&text)[LEN]) : bytes{} {
        for (size_t at = 0; at + 1 < LEN; at++) {
            bytes[at] = text[at];
        }
    }
};
#define JACKFIELD_NOTE_FIELD(manifest_text) jackfield_note_text<sizeof(manifest_text)> text
#define JACKFIELD_NOTE_VALUE(manifest_text) jackfield_note_text<sizeof(manifest_text)>(manifest_text)
#else
#define JACKFIELD_EXTERN
#if defined(__has_attribute)
#if __has_attribute(nonstring)
#define JACKFIELD_NONSTRING __attribute__((nonstring))
#endif
#endif
#ifndef JACKFIELD_NONSTRING
#define JACKFIELD_NONSTRING
#endif
#define JACKFIELD_NOTE_FIELD(manifest_text) \
    struct { \
        char bytes[(sizeof(manifest_text) + 2) / 4 * 4] JACKFIELD_NONSTRING; \
    } text
#define JACKFIELD_NOTE_VALUE(manifest_text) {manifest_text}
#endif

/* Defines the plugin, once in one source file:
 *
 *     #define METHODS(M) M(INLINE, "counter.add", add) M(ASYNC, "counter.later", later)
 *     static const jackfield_lifecycle lifecycle = {.start = start, .stop = stop};
 *     JACKFIELD_PLUGIN("counter", "0.1.0", METHODS, lifecycle)
 *
 * Names are string literals without characters that JSON escapes. */
#define JACKFIELD_PLUGIN(package, version, methods, lifecycle) \
    JACKFIELD_DEFINE_PLUGIN(JACKFIELD_MANIFEST(package, version, "", methods), methods, lifecycle)

/* The same for a plugin that exports its state in the layout with this number, a literal. */
#define JACKFIELD_PLUGIN_WITH_STATE(package, version, layout, methods, lifecycle)                            \
    JACKFIELD_DEFINE_PLUGIN(                                                                                 \
        JACKFIELD_MANIFEST(package, version, ",\"state\":" JACKFIELD_STRING(layout), methods), methods, lifecycle)

#define JACKFIELD_DEFINE_PLUGIN(manifest_text, methods, lifecycle)                                           \
    __attribute__((section(".note.jackfield"), used, aligned(4))) static const struct {                      \
        uint32_t owner_len, text_len, kind;                                                                  \
        char owner[12];                                                                                      \
        JACKFIELD_NOTE_FIELD(manifest_text);                                                                 \
    } jackfield_note = {10, sizeof(manifest_text) - 1, 1, "Jackfield", JACKFIELD_NOTE_VALUE(manifest_text)}; \
    static const jackfield_entry jackfield_entries[] = {methods(JACKFIELD_ENTRY_OF){NULL, NULL}};            \
    static jackfield_slice jackfield_manifest(void) { \
        jackfield_slice slice; \
        slice.ptr = (const uint8_t *)jackfield_note.text.bytes; \
        slice.len = jackfield_note.text_len; \
        return slice; \
    } \
    static const jackfield_entry *jackfield_entry_of(uint32_t method) {                                      \
        return method + 1 < sizeof(jackfield_entries) / sizeof(jackfield_entries[0])                         \
                   ? &jackfield_entries[method]                                                              \
                   : NULL;                                                                                   \
    }                                                                                                        \
    static void *jackfield_self(const void *instance) {                                                      \
        return ((const jackfield_instance *)instance)->self;                                                 \
    }                                                                                                        \
    static void jackfield_start(const jackfield_host_table *table, const void *host,                         \
                                jackfield_slice settings, const void **instance, jackfield_sink *sink,       \
                                jackfield_outcome *outcome) {                                                \
        jackfield_out out = jackfield_begin_out(sink, outcome);                                              \
        jackfield_instance *made = (jackfield_instance *)malloc(sizeof(jackfield_instance));                 \
        if ((lifecycle).start == NULL || (lifecycle).stop == NULL) {                                         \
            jackfield_fail(&out, JACKFIELD_INTERNAL_ERROR, "start and stop are required", NULL);             \
            free(made);                                                                                      \
            return;                                                                                          \
        }                                                                                                    \
        if (made == NULL) {                                                                                  \
            jackfield_fail(&out, JACKFIELD_INTERNAL_ERROR, "out of memory", NULL);                           \
            return;                                                                                          \
        }                                                                                                    \
        made->host.table = table;                                                                            \
        made->host.handle = host;                                                                            \
        table->retain(host);                                                                                 \
        outcome->status = JACKFIELD_DONE;                                                                    \
        made->self = (lifecycle).start(&made->host, settings, &out);                                         \
        if (outcome->status != JACKFIELD_DONE) {                                                             \
            table->release(host);                                                                            \
            free(made);                                                                                      \
            return;                                                                                          \
        }                                                                                                    \
        *instance = made;                                                                                    \
    }                                                                                                        \
    static void jackfield_call(const void *instance, uint32_t method, const void *call,                      \
                               jackfield_slice params, jackfield_sink *sink, jackfield_outcome *outcome) {   \
        jackfield_out out = jackfield_begin_out(sink, outcome);                                              \
        const jackfield_entry *entry = jackfield_entry_of(method);                                           \
        if (entry == NULL || entry->run == NULL) {                                                           \
            jackfield_fail(&out, JACKFIELD_INTERNAL_ERROR, "the plugin has no such method", NULL);           \
            return;                                                                                          \
        }                                                                                                    \
        entry->run(jackfield_self(instance), call, params, &out);                                            \
    }                                                                                                        \
    static void jackfield_begin(const void *instance, uint32_t method, const void *call,                     \
                                jackfield_slice params, jackfield_future *future, jackfield_sink *sink,      \
                                jackfield_outcome *outcome) {                                                \
        jackfield_out out = jackfield_begin_out(sink, outcome);                                              \
        const jackfield_entry *entry = jackfield_entry_of(method);                                           \
        if (entry == NULL || entry->begin == NULL) {                                                         \
            jackfield_fail(&out, JACKFIELD_INTERNAL_ERROR, "the plugin has no such async method", NULL);     \
            return;                                                                                          \
        }                                                                                                    \
        outcome->status = JACKFIELD_DONE;                                                                    \
        entry->begin(jackfield_self(instance), call, params, future, &out);                                  \
    }                                                                                                        \
    static void jackfield_self_test(const void *instance, jackfield_sink *sink, jackfield_outcome *outcome) { \
        jackfield_out out = jackfield_begin_out(sink, outcome);                                              \
        jackfield_done(&out);                                                                                \
        if ((lifecycle).self_test != NULL) {                                                                 \
            (lifecycle).self_test(jackfield_self(instance), &out);                                           \
        }                                                                                                    \
    }                                                                                                        \
    static void jackfield_export_state(const void *instance, jackfield_sink *sink,                           \
                                       jackfield_outcome *outcome) {                                         \
        jackfield_out out = jackfield_begin_out(sink, outcome);                                              \
        if ((lifecycle).export_state == NULL) {                                                              \
            jackfield_fail(&out, JACKFIELD_INTERNAL_ERROR, "the plugin exports no state", NULL);             \
            return;                                                                                          \
        }                                                                                                    \
        (lifecycle).export_state(jackfield_self(instance), &out);                                            \
    }                                                                                                        \
    static void jackfield_import_state(const void *instance, uint32_t layout, jackfield_slice state,         \
                                       jackfield_sink *sink, jackfield_outcome *outcome) {                   \
        jackfield_out out = jackfield_begin_out(sink, outcome);                                              \
        if ((lifecycle).import_state == NULL) {                                                              \
            jackfield_fail(&out, JACKFIELD_INTERNAL_ERROR, "the plugin accepts no state", NULL);             \
            return;                                                                                          \
        }                                                                                                    \
        jackfield_done(&out);                                                                                \
        (lifecycle).import_state(jackfield_self(instance), layout, state, &out);                             \
    }                                                                                                        \
    static void jackfield_stop(const void *instance, jackfield_sink *sink, jackfield_outcome *outcome) {     \
        jackfield_out out = jackfield_begin_out(sink, outcome);                                              \
        jackfield_instance *made = (jackfield_instance *)(uintptr_t)instance;                                \
        (lifecycle).stop(made->self);                                                                        \
        made->host.table->release(made->host.handle);                                                        \
        free(made);                                                                                          \
        jackfield_done(&out);                                                                                \
    }                                                                                                        \
    static void jackfield_describe(uint32_t method, uint32_t part, jackfield_sink *sink,                     \
                                   jackfield_outcome *outcome) {                                             \
        jackfield_out out = jackfield_begin_out(sink, outcome);                                              \
        jackfield_done(&out);                                                                                \
        if ((lifecycle).describe != NULL) {                                                                  \
            (lifecycle).describe(method, part, &out);                                                        \
        }                                                                                                    \
    }                                                                                                        \
    JACKFIELD_EXTERN __attribute__((visibility("default"))) const jackfield_plugin_table *                   \
    jackfield_c_plugin(void);                                                                                \
    JACKFIELD_EXTERN __attribute__((visibility("default"))) const jackfield_plugin_table *                   \
    jackfield_c_plugin(void) {                                                                               \
        static const jackfield_plugin_table table = {                                                        \
            sizeof(jackfield_plugin_table), JACKFIELD_ABI,          jackfield_manifest,                      \
            jackfield_start,                jackfield_call,         jackfield_begin,                         \
            jackfield_self_test,            jackfield_export_state, jackfield_import_state,                  \
            NULL,                           jackfield_stop,         jackfield_describe,                      \
        };                                                                                                   \
        return &table;                                                                                       \
    }

#endif
