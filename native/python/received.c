/* received.c - a message as values, and the life of its memory. */
#include "python/received.h"

#include "base/bytes.h"
#include "include/rudp.h"
#include "python/arrays.h"

typedef struct received_object {
    PyObject_HEAD struct received_object *whole; /* that gives the memory back; NULL: this one */
    void *memory;                                /* NULL: nothing is to be given back */
    uint8_t *at;
    size_t size;
} received_object;

static PyTypeObject *received_type;

typedef struct {
    received_object *whole; /* NULL: nothing lies in the memory yet */
    uint8_t *memory;
    const uint8_t *table;
    uint32_t count;
    uint32_t named; /* a bit for each part */
    cursor head;
} message;

/* ---- header and table ---- */

static bool table_is_sound(const message *m, uint64_t end, uint64_t size)
{
    for (uint32_t i = 0; i < m->count; i++) {
        uint64_t offset = load_u64(m->table + PART_ROW * i);
        uint64_t part = load_u64(m->table + PART_ROW * i + 8);
        if (offset < end || offset > size || part > size - offset)
            return false;
        end = offset + part;
    }
    return true;
}

static bool message_open(message *m, const received_message *r)
{
    *m = (message){.memory = r->memory, .head = {r->at, r->at + r->size}};
    if (r->size == 0 || *r->at != PARTS_MAGIC)
        return r->size > 0 && r->size <= r->max_head;
    reader header = reader_of(r->at, r->size);
    uint32_t version = read_u32(&header), head = read_u32(&header), format = read_u32(&header);
    m->count = read_u32(&header);
    if (!header.ok || r->memory == NULL || version != PARTS_VERSION || format != PARTS_MSGPACK ||
        head > r->max_head || m->count > PARTS_MOST)
        return false;
    m->table = read_bytes(&header, PART_ROW * m->count);
    const uint8_t *at = read_bytes(&header, head);
    if (at == NULL)
        return false;
    m->head = (cursor){at, at + head};
    return table_is_sound(m, (uint64_t)(at + head - r->at), r->size);
}

/* ---- buffers ---- */

static received_object *received_new(received_object *whole)
{
    received_object *r = PyObject_New(received_object, received_type);
    if (r == NULL)
        return NULL;
    r->whole = (received_object *)Py_XNewRef((PyObject *)whole);
    r->memory = NULL;
    return r;
}

/* The first one that is asked for has the memory of all. */
static PyObject *part_keep(message *m, uint8_t *at, size_t size)
{
    received_object *r = received_new(m->whole);
    if (r == NULL)
        return NULL;
    r->at = at;
    r->size = size;
    if (m->whole == NULL) {
        r->memory = m->memory;
        m->whole = (received_object *)Py_NewRef((PyObject *)r);
    }
    return (PyObject *)r;
}

/* Bytes of a part, or (inside) of the head. */
typedef struct {
    uint8_t *at;
    size_t size;
    bool inside;
} content;

static bool content_read(message *m, cursor *c, content *found)
{
    uint64_t number = 0;
    found->inside = c->at < c->end && (*c->at == 0xc4 || *c->at == 0xc5);
    if (found->inside) {
        unsigned size = *c->at++ == 0xc4 ? 1 : 2;
        const uint8_t *at = take_number(c, size, &number) ? take(c, number) : NULL;
        *found = (content){(uint8_t *)(uintptr_t)at, number, true};
        return at != NULL;
    }
    if (!take_natural(c, &number) || number >= m->count || (m->named >> number & 1) != 0)
        return false;
    m->named |= 1u << number;
    const uint8_t *row = m->table + PART_ROW * number;
    *found = (content){m->memory + load_u64(row), load_u64(row + 8), false};
    return true;
}

static PyObject *content_keep(message *m, const content *found)
{
    if (found->inside)
        return PyByteArray_FromStringAndSize((const char *)found->at, (Py_ssize_t)found->size);
    return part_keep(m, found->at, found->size);
}

/* What is behind the code of an extension, which it fills. */
static PyObject *buffer_read(message *m, uint8_t code, cursor *c)
{
    const uint8_t *first = take(c, 1);
    content found;
    if (first == NULL || *first != (code == CODE_ARRAY ? 0x94 : 0x91) ||
        !content_read(m, c, &found))
        return NULL;
    if (code == CODE_BYTES)
        return PyBytes_FromStringAndSize((const char *)found.at, (Py_ssize_t)found.size);
    PyObject *bytes = content_keep(m, &found), *made = NULL;
    if (bytes != NULL && code == CODE_BUFFER)
        made = PyMemoryView_FromObject(bytes);
    else if (bytes != NULL)
        made = array_read(c, bytes, found.size);
    Py_XDECREF(bytes);
    return made;
}

/* ---- values ---- */

/* Whether an extension begins here; its code, and its bytes. */
static bool extension_take(cursor *c, uint8_t *code, cursor *inner)
{
    uint8_t kind = c->at < c->end ? *c->at : 0;
    bool counted = kind == 0xc7 || kind == 0xc8;
    if (!counted && (kind < 0xd4 || kind > 0xd8))
        return false;
    c->at++;
    uint64_t size = counted ? 0 : UINT64_C(1) << (kind - 0xd4);
    bool ok = !counted || take_number(c, kind == 0xc7 ? 1 : 2, &size);
    const uint8_t *about = take(c, 1), *at = ok ? take(c, size) : NULL;
    *code = about == NULL ? 0 : *about;
    *inner = (cursor){at, at == NULL ? at : at + size};
    return true;
}

static PyObject *item_read(message *m)
{
    uint8_t code;
    cursor inner;
    if (!extension_take(&m->head, &code, &inner))
        return value_read(&m->head);
    if (code != CODE_ARRAY && code != CODE_BUFFER && code != CODE_BYTES)
        return NULL;
    PyObject *value = inner.at == NULL ? NULL : buffer_read(m, code, &inner);
    if (value != NULL && inner.at != inner.end)
        Py_CLEAR(value);
    return value;
}

/* Nothing may be left over. The memory goes with the value, or stays the caller's. */
static PyObject *message_close(message *m, PyObject *value)
{
    if (value != NULL && m->head.at != m->head.end)
        Py_CLEAR(value);
    if (value == NULL) {
        PyErr_Clear();
        if (m->whole != NULL)
            m->whole->memory = NULL;
    } else if (m->whole == NULL && m->memory != NULL) {
        rudp_release(m->memory);
    }
    Py_XDECREF((PyObject *)m->whole);
    return value;
}

/* Whether an array of msgpack begins here, and of how many. */
static bool count_take(message *m, Py_ssize_t *count)
{
    if (m->head.at == m->head.end || (*m->head.at & 0xf0) != 0x90)
        return false;
    *count = *m->head.at++ & 0x0f;
    return true;
}

/* The next values, in what `made` is: a tuple or a list, set by its own function. */
static PyObject *items_read(message *m, PyObject *made, Py_ssize_t count,
                            int (*set)(PyObject *, Py_ssize_t, PyObject *))
{
    for (Py_ssize_t i = 0; made != NULL && i < count; i++) {
        PyObject *value = item_read(m);
        if (value != NULL)
            set(made, i, value);
        else
            Py_CLEAR(made);
    }
    return made;
}

PyObject *received_arguments(const received_message *r)
{
    message m;
    Py_ssize_t count;
    if (!message_open(&m, r) || !count_take(&m, &count))
        return NULL;
    return message_close(&m, items_read(&m, PyTuple_New(count), count, PyTuple_SetItem));
}

PyObject *received_value(const received_message *r)
{
    message m;
    Py_ssize_t count;
    if (!message_open(&m, r))
        return NULL;
    if (r->memory == NULL || !count_take(&m, &count))
        return message_close(&m, item_read(&m));
    return message_close(&m, items_read(&m, PyList_New(count), count, PyList_SetItem));
}

PyObject *received_bytes(const received_message *r)
{
    message m = {.memory = r->memory};
    if (r->memory == NULL)
        return PyBytes_FromStringAndSize((const char *)r->at, (Py_ssize_t)r->size);
    PyObject *kept = part_keep(&m, r->memory, r->size);
    PyObject *view = kept == NULL ? NULL : PyMemoryView_FromObject(kept);
    if (view == NULL && m.whole != NULL)
        m.whole->memory = NULL;
    Py_XDECREF(kept);
    Py_XDECREF((PyObject *)m.whole);
    return view;
}

/* ---- as an object ---- */

static int received_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
    received_object *r = (received_object *)self;
    return PyBuffer_FillInfo(view, self, r->at, (Py_ssize_t)r->size, 0, flags);
}

static void received_dealloc(PyObject *self)
{
    received_object *r = (received_object *)self;
    PyTypeObject *type = Py_TYPE(self);
    if (r->memory != NULL)
        rudp_release(r->memory);
    Py_XDECREF((PyObject *)r->whole);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyType_Slot received_slots[] = {
    {Py_tp_doc, "Received bytes, which go back to the core with the last who uses them."},
    {Py_tp_dealloc, received_dealloc},
    {Py_bf_getbuffer, received_getbuffer},
    {0, NULL},
};

static PyType_Spec received_spec = {
    .name = "rudp._link.Received",
    .basicsize = sizeof(received_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = received_slots,
};

bool received_type_add(PyObject *module)
{
    received_type = (PyTypeObject *)PyType_FromSpec(&received_spec);
    return received_type != NULL &&
           PyModule_AddObjectRef(module, "Received", (PyObject *)received_type) == 0;
}
