/* arrays.c - type and shape of arrays, both ways. */
#include "python/arrays.h"

#include <string.h>

static PyObject *ndarray, *dtype;

static bool numpy_ready(void)
{
    if (ndarray != NULL)
        return true;
    PyObject *name = PyUnicode_FromString("numpy");
    PyObject *numpy = name == NULL ? NULL : PyImport_GetModule(name);
    dtype = numpy == NULL ? NULL : PyObject_GetAttrString(numpy, "dtype");
    ndarray = dtype == NULL ? NULL : PyObject_GetAttrString(numpy, "ndarray");
    Py_XDECREF(name);
    Py_XDECREF(numpy);
    PyErr_Clear(); /* somebody is importing it at this moment */
    return ndarray != NULL;
}

bool array_is(PyObject *value)
{
    return numpy_ready() && (PyObject *)Py_TYPE(value) == ndarray;
}

/* ---- type ---- */

/* The letter of a type's family, behind which are those that a buffer has for it. */
static const char *const families[] = {"b?", "ibhilq", "uBHILQ", "fefd", "c"};

enum { FAMILIES = 5, COMPLEX = 4, SIZES = 5, TYPE_TEXT = 4 };

static const char *const sizes[SIZES] = {"1", "2", "4", "8", "16"}; /* of an item, in bytes */

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
static const char order_of_bytes = '<';
#else
static const char order_of_bytes = '>';
#endif

/* FAMILIES: none. */
static unsigned family_of(const char *format)
{
    bool pair = format[0] == 'Z';
    const char *letter = pair ? format + 1 : format;
    if (letter[0] == '\0' || letter[1] != '\0')
        return FAMILIES;
    unsigned family = 0;
    while (family < COMPLEX && strchr(families[family] + 1, letter[0]) == NULL)
        family++;
    if (family == COMPLEX)
        return FAMILIES;
    return pair ? COMPLEX : family;
}

static void type_write(packer *w, const Py_buffer *view)
{
    unsigned family = view->format == NULL ? FAMILIES : family_of(view->format), size = 0;
    while (size < SIZES && (Py_ssize_t)1 << size != view->itemsize)
        size++;
    w->ok = w->ok && family < FAMILIES && size < SIZES;
    if (!w->ok)
        return;
    char text[TYPE_TEXT] = {size == 0 ? '|' : order_of_bytes, families[family][0]};
    size_t digits = strlen(sizes[size]);
    memcpy(text + 2, sizes[size], digits);
    put_number(w, (uint8_t)(0xa0 | (2 + digits)), 0, 0);
    put(w, text, 2 + digits);
}

typedef struct {
    PyObject *dtype;
    size_t size; /* of an item */
} array_type;

/* Made by numpy. NULL: it knows no such type. */
static const array_type *type_make(array_type *type, const char *text, size_t length)
{
    PyObject *made = PyObject_CallFunction(dtype, "s#", text, (Py_ssize_t)length);
    PyObject *size = made == NULL ? NULL : PyObject_GetAttrString(made, "itemsize");
    if (size != NULL)
        *type = (array_type){made, PyLong_AsSize_t(size)};
    else
        Py_XDECREF(made);
    Py_XDECREF(size);
    return size != NULL ? type : NULL;
}

static const array_type *type_read(cursor *c)
{
    static array_type known[FAMILIES][SIZES];
    const uint8_t *first = take(c, 1);
    size_t length = first == NULL ? 0 : *first & 0x1fu;
    if (first == NULL || (*first & 0xe0) != 0xa0 || length < 3 || length > TYPE_TEXT)
        return NULL;
    const char *text = (const char *)take(c, length);
    unsigned family = 0, size = 0;
    while (text != NULL && family < FAMILIES && families[family][0] != text[1])
        family++;
    while (text != NULL && size < SIZES &&
           (strlen(sizes[size]) != length - 2 || memcmp(sizes[size], text + 2, length - 2) != 0))
        size++;
    if (text == NULL || family == FAMILIES || size == SIZES ||
        text[0] != (size == 0 ? '|' : order_of_bytes))
        return NULL;
    array_type *type = &known[family][size];
    return type->dtype != NULL ? type : type_make(type, text, length);
}

/* ---- shape and order ---- */

void array_write(packer *w, const Py_buffer *view)
{
    type_write(w, view);
    w->ok = w->ok && view->ndim <= ARRAY_DIMENSIONS;
    put_number(w, (uint8_t)(0x90 | (view->ndim & 0x0f)), 0, 0);
    for (int i = 0; w->ok && i < view->ndim; i++)
        put_natural(w, (uint64_t)view->shape[i]);
    put(w,
        "\xa1"
        "C",
        2);
}

/* *size: of the array in bytes, begun with that of an item. */
static PyObject *shape_read(cursor *c, uint64_t *size)
{
    const uint8_t *first = take(c, 1);
    if (first == NULL || (*first & 0xf0) != 0x90)
        return NULL;
    Py_ssize_t count = *first & 0x0f;
    PyObject *shape = PyTuple_New(count);
    for (Py_ssize_t i = 0; shape != NULL && i < count; i++) {
        uint64_t length;
        PyObject *made = NULL;
        if (take_natural(c, &length) && !__builtin_mul_overflow(*size, length, size))
            made = PyLong_FromUnsignedLongLong(length);
        if (made != NULL)
            PyTuple_SetItem(shape, i, made);
        else
            Py_CLEAR(shape);
    }
    return shape;
}

PyObject *array_read(cursor *c, PyObject *bytes, size_t size)
{
    const array_type *type = numpy_ready() ? type_read(c) : NULL;
    uint64_t expected = type == NULL ? 0 : type->size;
    PyObject *shape = type == NULL ? NULL : shape_read(c, &expected), *array = NULL;
    const uint8_t *order = take(c, 2);
    if (shape != NULL && order != NULL &&
        memcmp(order,
               "\xa1"
               "C",
               2) == 0 &&
        expected == size)
        array = PyObject_CallFunctionObjArgs(ndarray, shape, type->dtype, bytes, NULL);
    Py_XDECREF(shape);
    return array;
}
