/* scalars.c - simple values as msgpack, both ways. Readable from the two tables: the switch of
 * value_read, and the order of tests in value_write. */
#include "python/scalars.h"

#include <string.h>

/* ---- writing ---- */

void put(packer *w, const void *bytes, size_t size)
{
    w->ok = w->ok && size <= w->room;
    if (!w->ok)
        return;
    memcpy(w->at, bytes, size);
    w->at += size;
    w->room -= size;
}

void put_number(packer *w, uint8_t kind, uint64_t number, unsigned size)
{
    uint8_t bytes[9] = {kind};
    for (unsigned i = 0; i < size; i++)
        bytes[1 + i] = (uint8_t)(number >> (8 * (size - 1 - i)));
    put(w, bytes, 1 + size);
}

void put_natural(packer *w, uint64_t number)
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

static void put_negative(packer *w, int64_t number)
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

static void put_int(packer *w, PyObject *value)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    w->ok = w->ok && overflow == 0;
    if (number < 0)
        put_negative(w, number);
    else
        put_natural(w, (uint64_t)number);
}

static void put_float(packer *w, PyObject *value)
{
    double number = PyFloat_AsDouble(value);
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    put_number(w, 0xcb, bits, 8);
}

void put_counted(packer *w, uint8_t kind, const char *bytes, Py_ssize_t size)
{
    bool wide = size > UINT8_MAX;
    put_number(w, (uint8_t)(kind + wide), (uint64_t)size, wide ? 2 : 1);
    w->ok = w->ok && size <= UINT16_MAX;
    put(w, bytes, (size_t)size);
}

static void put_text(packer *w, PyObject *value)
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

static void put_bytes(packer *w, PyObject *value)
{
    char *bytes;
    Py_ssize_t size;
    PyBytes_AsStringAndSize(value, &bytes, &size);
    put_counted(w, 0xc4, bytes, size);
}

bool value_write(packer *w, PyObject *value)
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
        return false;
    return true;
}

/* ---- reading ---- */

const uint8_t *take(cursor *c, size_t size)
{
    if (size > (size_t)(c->end - c->at))
        return NULL;
    c->at += size;
    return c->at - size;
}

bool take_number(cursor *c, unsigned size, uint64_t *number)
{
    const uint8_t *bytes = take(c, size);
    *number = 0;
    for (unsigned i = 0; bytes != NULL && i < size; i++)
        *number = *number << 8 | bytes[i];
    return bytes != NULL;
}

bool take_natural(cursor *c, uint64_t *number)
{
    const uint8_t *first = take(c, 1);
    *number = first == NULL ? 0 : *first;
    if (first == NULL || *first < 0x80)
        return first != NULL;
    return *first >= 0xcc && *first <= 0xcf && take_number(c, 1u << (*first - 0xcc), number);
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

PyObject *value_read(cursor *c)
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
