/* scalars.c - simple values as msgpack, both ways. Readable from the two tables: the switch of
 * value_read, and the order of tests in value_write. */
#include "python/scalars.h"

#include <string.h>

/* ---- writing ---- */

typedef struct {
    uint8_t *at;
    size_t room;
    bool ok;
} writer;

static void put(writer *w, const void *bytes, size_t size)
{
    w->ok = w->ok && size <= w->room;
    if (!w->ok)
        return;
    memcpy(w->at, bytes, size);
    w->at += size;
    w->room -= size;
}

/* A kind, and a number of so many bytes behind it: the biggest comes first. */
static void put_number(writer *w, uint8_t kind, uint64_t number, unsigned size)
{
    uint8_t bytes[9] = {kind};
    for (unsigned i = 0; i < size; i++)
        bytes[1 + i] = (uint8_t)(number >> (8 * (size - 1 - i)));
    put(w, bytes, 1 + size);
}

/* In the shortest form, as the codec does. */
static void put_natural(writer *w, uint64_t number)
{
    if (number < 0x80)
        put_number(w, (uint8_t)number, 0, 0);
    else if (number <= UINT8_MAX)
        put_number(w, 0xcc, number, 1);
    else if (number <= UINT16_MAX)
        put_number(w, 0xcd, number, 2);
    else if (number <= UINT32_MAX)
        put_number(w, 0xce, number, 4);
    else
        put_number(w, 0xcf, number, 8);
}

static void put_negative(writer *w, int64_t number)
{
    if (number >= -32)
        put_number(w, (uint8_t)number, 0, 0);
    else if (number >= INT8_MIN)
        put_number(w, 0xd0, (uint64_t)number, 1);
    else if (number >= INT16_MIN)
        put_number(w, 0xd1, (uint64_t)number, 2);
    else if (number >= INT32_MIN)
        put_number(w, 0xd2, (uint64_t)number, 4);
    else
        put_number(w, 0xd3, (uint64_t)number, 8);
}

static void put_int(writer *w, PyObject *value)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    w->ok = w->ok && overflow == 0;
    if (number < 0)
        put_negative(w, number);
    else
        put_natural(w, (uint64_t)number);
}

static void put_float(writer *w, PyObject *value)
{
    double number = PyFloat_AsDouble(value);
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    put_number(w, 0xcb, bits, 8);
}

/* Bytes behind their number, which has one byte after this kind or two after the next. */
static void put_counted(writer *w, uint8_t kind, const char *bytes, Py_ssize_t size)
{
    bool wide = size > UINT8_MAX;
    put_number(w, (uint8_t)(kind + wide), (uint64_t)size, wide ? 2 : 1);
    w->ok = w->ok && size <= UINT16_MAX;
    put(w, bytes, (size_t)size);
}

static void put_text(writer *w, PyObject *value)
{
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(value, &size);
    if (text == NULL) {
        PyErr_Clear(); /* half of a surrogate pair */
        w->ok = false;
        return;
    }
    if (size >= 32) {
        put_counted(w, 0xd9, text, size);
        return;
    }
    put_number(w, (uint8_t)(0xa0 | size), 0, 0);
    put(w, text, (size_t)size);
}

static void put_bytes(writer *w, PyObject *value)
{
    char *bytes;
    Py_ssize_t size;
    PyBytes_AsStringAndSize(value, &bytes, &size);
    put_counted(w, 0xc4, bytes, size);
}

static void value_write(writer *w, PyObject *value)
{
    if (PyBytes_CheckExact(value))
        put_bytes(w, value);
    else if (PyUnicode_CheckExact(value))
        put_text(w, value);
    else if (PyLong_CheckExact(value))
        put_int(w, value);
    else if (value == Py_None)
        put_number(w, 0xc0, 0, 0);
    else if (value == Py_True || value == Py_False)
        put_number(w, value == Py_True ? 0xc3 : 0xc2, 0, 0);
    else if (PyFloat_CheckExact(value))
        put_float(w, value);
    else
        w->ok = false;
}

size_t scalar_write(PyObject *value, uint8_t *out, size_t room)
{
    writer w = {.at = out, .room = room, .ok = true};
    value_write(&w, value);
    return w.ok ? (size_t)(w.at - out) : 0;
}

size_t arguments_write(PyObject *tuple, uint8_t *out, size_t room)
{
    Py_ssize_t count = PyTuple_Size(tuple);
    writer w = {.at = out, .room = room, .ok = count <= ARGUMENTS_MOST};
    put_number(&w, (uint8_t)(0x90 | (count & 0x0f)), 0, 0);
    for (Py_ssize_t i = 0; w.ok && i < count; i++)
        value_write(&w, PyTuple_GetItem(tuple, i));
    return w.ok ? (size_t)(w.at - out) : 0;
}

/* ---- reading ---- */

typedef struct {
    const uint8_t *at, *end;
} cursor;

static const uint8_t *take(cursor *c, size_t size)
{
    if (size > (size_t)(c->end - c->at))
        return NULL;
    c->at += size;
    return c->at - size;
}

static bool take_number(cursor *c, unsigned size, uint64_t *number)
{
    const uint8_t *bytes = take(c, size);
    *number = 0;
    for (unsigned i = 0; bytes != NULL && i < size; i++)
        *number = *number << 8 | bytes[i];
    return bytes != NULL;
}

static PyObject *read_natural(cursor *c, unsigned size)
{
    uint64_t number;
    return take_number(c, size, &number) ? PyLong_FromUnsignedLongLong(number) : NULL;
}

static PyObject *read_signed(cursor *c, unsigned size)
{
    uint64_t number;
    if (!take_number(c, size, &number))
        return NULL;
    unsigned shift = 64 - 8 * size;
    return PyLong_FromLongLong((int64_t)(number << shift) >> shift);
}

static PyObject *read_float(cursor *c)
{
    uint64_t bits;
    double number;
    if (!take_number(c, 8, &bits))
        return NULL;
    memcpy(&number, &bits, sizeof number);
    return PyFloat_FromDouble(number);
}

static PyObject *read_text(cursor *c, size_t size)
{
    const uint8_t *text = take(c, size);
    PyObject *made =
        text == NULL ? NULL : PyUnicode_FromStringAndSize((const char *)text, (Py_ssize_t)size);
    if (made == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
        PyErr_Clear(); /* the codec says so better */
    return made;
}

static PyObject *read_counted(cursor *c, unsigned size, bool text)
{
    uint64_t count;
    if (!take_number(c, size, &count))
        return NULL;
    if (text)
        return read_text(c, count);
    const uint8_t *bytes = take(c, count);
    return bytes == NULL ? NULL : PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)count);
}

static PyObject *value_read(cursor *c)
{
    const uint8_t *first = take(c, 1);
    if (first == NULL)
        return NULL;
    if (*first < 0x80 || *first >= 0xe0)
        return PyLong_FromLong((int8_t)*first);
    if ((*first & 0xe0) == 0xa0)
        return read_text(c, *first & 0x1f);
    switch (*first) {
    case 0xc0: return Py_NewRef(Py_None);
    case 0xc2: return Py_NewRef(Py_False);
    case 0xc3: return Py_NewRef(Py_True);
    case 0xc4: return read_counted(c, 1, false);
    case 0xc5: return read_counted(c, 2, false);
    case 0xcb: return read_float(c);
    case 0xcc: return read_natural(c, 1);
    case 0xcd: return read_natural(c, 2);
    case 0xce: return read_natural(c, 4);
    case 0xcf: return read_natural(c, 8);
    case 0xd0: return read_signed(c, 1);
    case 0xd1: return read_signed(c, 2);
    case 0xd2: return read_signed(c, 4);
    case 0xd3: return read_signed(c, 8);
    case 0xd9: return read_counted(c, 1, true);
    case 0xda: return read_counted(c, 2, true);
    default: return NULL;
    }
}

PyObject *scalar_read(const uint8_t *at, size_t size)
{
    cursor c = {at, at + size};
    PyObject *value = value_read(&c);
    if (value != NULL && c.at != c.end)
        Py_CLEAR(value);
    return value;
}

PyObject *arguments_read(const uint8_t *at, size_t size)
{
    if (size == 0 || (*at & 0xf0) != 0x90)
        return NULL;
    cursor c = {at + 1, at + size};
    Py_ssize_t count = *at & 0x0f;
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t i = 0; tuple != NULL && i < count; i++) {
        PyObject *value = value_read(&c);
        if (value != NULL)
            PyTuple_SetItem(tuple, i, value);
        else
            Py_CLEAR(tuple);
    }
    if (tuple != NULL && c.at != c.end)
        Py_CLEAR(tuple);
    return tuple;
}
