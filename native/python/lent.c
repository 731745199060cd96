/* lent.c - a message made of buffers, and their life. */
#include "python/lent.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

typedef struct {
    PyObject_VAR_HEAD uint32_t count; /* of views */
    size_t front;                     /* bytes, behind the views; 0: they are all of it */
    Py_buffer views[];
} lent_object;

static PyTypeObject *lent_type;

static uint64_t aligned(uint64_t at)
{
    return (at + PART_ALIGN - 1) / PART_ALIGN * PART_ALIGN;
}

static uint8_t *lent_front(lent_object *l)
{
    return (uint8_t *)(l->views + l->count);
}

/* Header, table and head with what fills up to the first part; or a head alone. */
static void front_write(lent_object *l, const draft *d)
{
    uint8_t *front = lent_front(l);
    size_t table = PARTS_HEADER, end = PARTS_HEADER + PART_ROW * (size_t)d->count + d->size;
    if (d->count == 0) {
        memcpy(front, d->head, d->size);
        return;
    }
    store_u32(front, PARTS_VERSION);
    store_u32(front + 4, (uint32_t)d->size);
    store_u32(front + 8, PARTS_MSGPACK);
    store_u32(front + 12, d->count);
    memcpy(front + end - d->size, d->head, d->size);
    memset(front + end, 0, l->front - end);
    uint64_t at = l->front;
    for (uint32_t i = 0; i < d->count; i++, table += PART_ROW) {
        uint64_t size = (uint64_t)d->views[i].len;
        store_u64(front + table, at);
        store_u64(front + table + 8, size);
        at = aligned(at + size);
    }
}

static lent_object *lent_new(draft *d)
{
    size_t front = d->size;
    if (d->count > 0)
        front = aligned(PARTS_HEADER + PART_ROW * (size_t)d->count + d->size);
    Py_ssize_t size = (Py_ssize_t)(d->count * sizeof d->views[0] + front);
    lent_object *l = PyObject_GC_NewVar(lent_object, lent_type, size);
    if (l == NULL)
        return NULL;
    l->count = d->count;
    l->front = front;
    memcpy(l->views, d->views, d->count * sizeof d->views[0]);
    front_write(l, d);
    d->count = 0;
    PyObject_GC_Track(l);
    return l;
}

/* The bytes that fill up to a part are the same ones for all. */
static rudp_memory *lent_memory(lent_object *l, uint64_t token)
{
    static uint8_t zeros[PART_ALIGN];
    void *parts[2 * PARTS_MOST] = {lent_front(l)};
    size_t sizes[2 * PARTS_MOST] = {l->front};
    uint32_t count = 1;
    for (uint32_t i = 0; i < l->count; i++) {
        size_t size = (size_t)l->views[i].len;
        parts[count] = l->views[i].buf;
        sizes[count++] = size;
        if (i + 1 == l->count)
            break;
        parts[count] = zeros;
        sizes[count++] = aligned(size) - size;
    }
    return rudp_memory_new(token, count, parts, sizes);
}

static rudp_memory *views_memory(const lent_object *l, uint64_t token)
{
    void **parts = calloc(l->count + 1, sizeof *parts);
    size_t *sizes = calloc(l->count + 1, sizeof *sizes);
    rudp_memory *memory = NULL;
    for (uint32_t i = 0; parts != NULL && sizes != NULL && i < l->count; i++) {
        parts[i] = l->views[i].buf;
        sizes[i] = (size_t)l->views[i].len;
    }
    if (parts != NULL && sizes != NULL)
        memory = rudp_memory_new(token, l->count, parts, sizes);
    free(parts);
    free(sizes);
    return memory;
}

static uint64_t draft_message_size(const draft *d)
{
    uint64_t at = d->size + (d->count == 0 ? 0 : PARTS_HEADER + PART_ROW * (uint64_t)d->count);
    for (uint32_t i = 0; i < d->count; i++)
        at = aligned(at) + (uint64_t)d->views[i].len;
    return at;
}

/* Under its token from now on, if the core can have it; the reference is given away. */
static rudp_memory *lent_keep(PyObject *lent, uint64_t token, lent_object *l)
{
    PyObject *key = l == NULL ? NULL : PyLong_FromUnsignedLongLong(token);
    rudp_memory *memory = NULL;
    if (key != NULL && PyDict_SetItem(lent, key, (PyObject *)l) == 0) {
        memory = l->front > 0 ? lent_memory(l, token) : views_memory(l, token);
        if (memory == NULL)
            PyDict_DelItem(lent, key);
    }
    Py_XDECREF(key);
    Py_XDECREF((PyObject *)l);
    return memory;
}

rudp_memory *lent_add(PyObject *lent, uint64_t token, draft *d, uint64_t max_message)
{
    if (d->count > 0 && draft_message_size(d) > max_message)
        return NULL;
    rudp_memory *memory = lent_keep(lent, token, lent_new(d));
    PyErr_Clear();
    return memory;
}

rudp_memory *lent_parts(PyObject *lent, uint64_t token, PyObject *parts)
{
    Py_ssize_t count = PyList_Size(parts);
    if (count < 0)
        return NULL;
    lent_object *l =
        PyObject_GC_NewVar(lent_object, lent_type, count * (Py_ssize_t)sizeof(Py_buffer));
    if (l == NULL)
        return NULL;
    l->front = 0;
    l->count = 0;
    while (l->count < (size_t)count && PyObject_GetBuffer(PyList_GetItem(parts, l->count),
                                                          &l->views[l->count], PyBUF_SIMPLE) == 0)
        l->count++;
    PyObject_GC_Track(l);
    if (l->count < (size_t)count)
        Py_CLEAR(l);
    rudp_memory *memory = lent_keep(lent, token, l);
    if (memory == NULL && PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_MemoryError))
        PyErr_Clear();
    return memory;
}

void lent_remove(PyObject *lent, uint64_t token)
{
    PyObject *key = PyLong_FromUnsignedLongLong(token);
    if (key == NULL || PyDict_DelItem(lent, key) != 0)
        PyErr_Clear(); /* the core is being freed, and all of it went */
    Py_XDECREF(key);
}

/* ---- as an object ---- */

static int lent_traverse(PyObject *self, visitproc visit, void *arg)
{
    lent_object *l = (lent_object *)self;
    Py_VISIT(Py_TYPE(self));
    for (uint32_t i = 0; i < l->count; i++)
        Py_VISIT(l->views[i].obj);
    return 0;
}

static void lent_dealloc(PyObject *self)
{
    lent_object *l = (lent_object *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    for (uint32_t i = 0; i < l->count; i++)
        PyBuffer_Release(&l->views[i]);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyType_Slot lent_slots[] = {
    {Py_tp_doc, "The buffers of a message that the core is sending."},
    {Py_tp_dealloc, lent_dealloc},
    {Py_tp_traverse, lent_traverse},
    {0, NULL},
};

static PyType_Spec lent_spec = {
    .name = "rudp._link.Lent",
    .basicsize = sizeof(lent_object),
    .itemsize = 1,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = lent_slots,
};

bool lent_type_add(PyObject *module)
{
    lent_type = (PyTypeObject *)PyType_FromSpec(&lent_spec);
    return lent_type != NULL && PyModule_AddObjectRef(module, "Lent", (PyObject *)lent_type) == 0;
}
