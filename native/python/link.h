/* link.h - "what of a node runs for every call, and so runs in C?"
 *
 *   Python    peer.call()      the loop                              methods
 *               |                 |                                     ^  |
 *   Link      call, wake -----> turn: rounds, look again, read, resume -+  v
 *               |                 |        |                 reply at once
 *   core      rudp_call        rudp_turn  events           rudp_reply
 *
 * It knows the simple case of everything: arguments and results made of scalars and buffers
 * (scalars.h, draft.h, received.h), inline and coroutine methods, calls that end well. For the rest
 * it calls the node's methods `_finished`, `_requested`, `_other`, `_answer` and `_answer_error`,
 * which can do everything. So each rule stands in Python once, and what stands here is measured to
 * be worth it.
 *
 * A blocking node has no loop: its threads wait for their calls, and one of them for events
 * (blocking.c).
 *
 * Calls live in a table; a handle is index and generation, and addresses one call only:
 *
 *    63          24 23        0
 *    +-------------+-----------+      index: place in the table, lowest free one first
 *    | generation  |   index   |      generation: one more with each reuse, so that a late event
 *    +-------------+-----------+      addresses nobody
 *
 * The traps. Events count as read one by one: an exception in the third leaves the fourth for the
 * next round (Rule 9). Any Python code that is called may submit, await, and close the node: that
 * runs a last round inside of this one, which then has nothing left to read. */
#ifndef RUDP_PYTHON_LINK_H
#define RUDP_PYTHON_LINK_H

#include "python/call.h"
#include "python/draft.h"
#include "python/received.h"
#include "python/request.h"

#include "include/rudp.h"

enum { LINK_BATCH = 24 }; /* events between two flushes: the peer works while the rest is read */

#define HANDLE_INDEX      0xffffffu
#define HANDLE_GENERATION (1ull << 24)

typedef struct {
    call_object *call; /* NULL: it ended, or nobody waits */
    uint64_t handle;   /* the newest of this place */
    bool waits;        /* a thread is inside of blocking.c with it */
} link_place;

typedef struct {
    link_place *places;
    uint64_t *free; /* the next handles of free places; the last one is taken first */
    uint32_t count, room, limit;
    uint32_t free_count;
} link_table;

/* A task that waits for the call, which is not one, so that whoever steps it may resume it. */
typedef struct {
    PyObject *task, *service;
    call_object *call;
    Py_ssize_t references; /* to the task; 0: not counted yet */
} spare_task;

/* Who reads the events of a blocking node: nobody, one who looks, one thread from now on. */
typedef enum { READ_BY_NOBODY, READ_BY_ONE_WHO_LOOKS, READ_BY_ITS_THREAD } link_reader;

typedef struct {
    PyObject_HEAD rudp_node *core;
    const rudp_event *events;
    const uint8_t *arena;
    PyObject *loop;
    PyObject *unsent;  /* replies that the core had no room for */
    PyObject *others;  /* what the loop has to do at once; of one that does not tell: never empty */
    PyObject *methods; /* name in bytes: (function, name, if a coroutine function, [tasks]) */
    PyObject *running; /* id of a request: its task */
    PyObject *lent;    /* token: what the core is sending from (Rule 21) */
    PyObject *packs;   /* class that is registered: how it is packed */
    PyObject *bound_request, *bind_request, *request_class;   /* _serving.py's */
    PyObject *copy_context, *coroutine, *task, *task_options; /* Python's own */
    PyObject *enter_task, *leave_task, *count_weak;           /* and these, */
    PyObject *active_count;                                   /* of threads */
    PyObject *spare_class, *in_context;                       /* _spare_task.py's */
    PyObject *loop_fields;         /* where to catch a task's first step; None: nowhere */
    PyObject *catch;               /* what catches it */
    PyObject *step, *step_context; /* and what was caught */
    PyObject *call_soon;           /* the loop's: wake(turn, node) with these options */
    PyObject *turn, *turn_options;
    PyObject *pool;                   /* of threads for methods; NULL: none yet */
    PyObject *inline_run, *first_run; /* what runs in a request's context: an inline function, */
    spare_task spare;                 /* and a first step, whose task is this */
    link_table table;
    call_object *woken[LINK_BATCH]; /* have ended, to be resumed */
    uint32_t woken_at, woken_count;
    uint64_t timeout_us; /* of calls that say none */
    uint64_t max_head, max_message;
    uint64_t token;   /* of what was lent last */
    uint64_t left;    /* ns: when the last turn ended */
    uint64_t crowded; /* ns: other threads compute, it is assumed until then */
    unsigned long thread;
    uint32_t position; /* in the event ring, of the next event to read */
    uint32_t taken;    /* events read since the last turn */
    uint32_t batches;  /* of events, begun */
    char due;          /* a turn is scheduled, or under way */
    char sealed;       /* no thread begins to wait any more: the node is being closed */
    link_reader reader;
    char simple;   /* the limits are wide enough for the simple case */
    char deferred; /* tasks are stepped by the loop: the node is being closed by one */
} link_object;

bool link_type_add(PyObject *module);

/* What leaves when a call is made. */
typedef struct {
    const char *method;
    Py_ssize_t method_size;
    uint64_t timeout_us;
    draft body; /* to be dropped */
} call_request;

/* False: not such a call that the simple case knows. */
bool request_fill(const link_object *link, call_request *r, PyObject *method, PyObject *args,
                  PyObject *timeout);
int request_submit(link_object *link, call_request *r, uint64_t handle, uint32_t peer, int owner);
/* A message of this draft, kept until RELEASED; the draft is empty then. NULL: it cannot be. */
rudp_memory *link_lend(link_object *link, draft *d);
/* The same of a body: bytes, or a list of buffers. NULL: no memory, or an exception. */
rudp_memory *link_lend_body(link_object *link, PyObject *body);
/* The message of an event: its bytes lie in the arena, or in memory that is ours now. */
received_message link_message(const link_object *link, const rudp_event *e);
/* The simple result of a call that ended well; a new reference or NULL. */
PyObject *link_result(const link_object *link, const rudp_event *e);

/* ---- table.c ---- */

void table_init(link_table *t, uint32_t limit);
/* Every reference goes. */
void table_clear(link_table *t);
/* A handle whose place is free; 0: none, or no memory. */
uint64_t table_take(link_table *t);
void table_give(link_table *t, uint64_t handle);
/* The call that ends; its place is free. A new reference or NULL. */
call_object *table_end(link_table *t, uint64_t handle);

/* ---- reading.c ---- */

/* Handles the next events. False with an exception set. */
bool link_read(link_object *link, PyObject *node, uint32_t count);

/* ---- blocking.c: for threads ---- */

PyObject *link_wait_call(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *link_wait_body(PyObject *self, PyObject *args);
PyObject *link_waiting(PyObject *self, PyObject *unused);
/* look(node, us): waits so long for events, and handles some, unless somebody reads already. */
PyObject *link_look(PyObject *self, PyObject *args);
/* attend(weak reference to the node, us): waits for events and handles them, until there were none
 * for so long, or the node closes or goes. The code that ended it, or 0. */
PyObject *link_attend(PyObject *module, PyObject *args);

/* ---- rounds.c: methods of Link ---- */

/* turn(node): as many rounds as there is something to do, or too many. */
PyObject *link_turn(PyObject *self, PyObject *node);
/* ready(weak reference to the node): the core's descriptor is readable (Rule 11). */
PyObject *link_ready(PyObject *self, PyObject *reference);
/* A turn in this tick of the loop: one for all that is submitted in it (Rule 12). */
bool link_wake(link_object *link, PyObject *node);
PyObject *link_wake_method(PyObject *self, PyObject *node);
/* The loop has nothing else to do now. */
bool link_is_free(const link_object *link);
/* What was submitted leaves at once, not at the end of the tick. */
void link_send(const link_object *link);
/* Requests that no thread of the pool has begun. False: an exception. */
bool link_queued(const link_object *link, uint32_t *queued);
/* What of a turn's end is Python's: the core has stopped, or its ring has room again. The same. */
bool link_tell(const link_object *link, PyObject *owner, int ready);

/* ---- requests.c ---- */

/* Serves a request whose arguments are simple, inline or as a task. 1: done, or under way; 0: not
 * such a one; -1: an exception that is the program's, not the caller's. */
int link_serve(link_object *link, PyObject *node, const rudp_event *e);
/* What runs in the context of a request: inline_run(request, function, args). */
PyObject *inline_run(PyObject *self, PyObject *const *args, Py_ssize_t count);
/* Ends a request with a value, or with the exception that is set; -1: an exception goes on. */
int link_reply(link_object *link, PyObject *node, uint64_t id, PyObject *value, bool pickled);
int link_reply_error(link_object *link, PyObject *node, uint64_t id);

#endif
