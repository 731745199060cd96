/* draft.c - values and buffers, written. */
#include "python/draft.h"

#include <string.h>

#include "python/arrays.h"

/* ---- one buffer ---- */

/* Those that memoryview.cast() knows. Of one item there may be no format. */
static bool format_is_plain(const char *format)
{
    return format == NULL || (format[0] != '\0' && format[1] == '\0' &&
                              strchr("cbBhHiIlLqQnNfd?", format[0]) != NULL);
}

/* A view of a view, so that the application may release its own. */
static bool view_take(PyObject *value, Py_buffer *view)
{
    PyObject *own = PyMemoryView_Check(value) ? PyMemoryView_FromObject(value) : Py_NewRef(value);
    bool ok = own != NULL && PyObject_GetBuffer(own, view, PyBUF_ND | PyBUF_FORMAT) == 0;
    Py_XDECREF(own);
    if (!ok)
        PyErr_Clear(); /* not contiguous, released, of objects */
    return ok;
}

static void put_extension(packer *w, uint8_t code, size_t size)
{
    if (size <= 16 && (size & (size - 1)) == 0)
        put_number(w, (uint8_t)(0xd4 + __builtin_ctzl(size)), 0, 0);
    else if (size <= UINT8_MAX)
        put_number(w, 0xc7, size, 1);
    else
        put_number(w, 0xc8, size, 2);
    put(w, &code, 1);
}

static void put_view(draft *d, uint8_t code, const Py_buffer *view)
{
    uint8_t bytes[ARRAY_ABOUT];
    packer about = {.at = bytes, .room = sizeof bytes, .ok = true};
    bool inside = view->len <= PART_INLINE;
    if (code == CODE_ARRAY)
        array_write(&about, view);
    size_t size = (size_t)(about.at - bytes);
    size_t content = inside ? (view->len <= UINT8_MAX ? 2 : 3) + (size_t)view->len : 1;
    d->w.ok = d->w.ok && about.ok;
    put_extension(&d->w, code, 1 + content + size);
    put_number(&d->w, code == CODE_ARRAY ? 0x94 : 0x91, 0, 0);
    if (inside)
        put_counted(&d->w, 0xc4, view->buf, view->len);
    else
        put_natural(&d->w, d->count);
    put(&d->w, bytes, size);
}

static void buffer_write(draft *d, uint8_t code, PyObject *value)
{
    Py_buffer *view = &d->views[d->count];
    if (!view_take(value, view)) {
        d->w.ok = false;
        return;
    }
    if (code == CODE_BUFFER)
        d->w.ok = d->w.ok && format_is_plain(view->format);
    put_view(d, code, view);
    if (view->len <= PART_INLINE)
        PyBuffer_Release(view);
    else
        d->count++;
}

/* ---- values ---- */

static bool is_registered(const draft *d, PyObject *value)
{
    return PyDict_Size(d->packs) != 0 && PyDict_Contains(d->packs, (PyObject *)Py_TYPE(value)) != 0;
}

static void item_write(draft *d, PyObject *value)
{
    if (PyBytes_CheckExact(value) && PyBytes_Size(value) > PART_INLINE)
        buffer_write(d, CODE_BYTES, value);
    else if (value_write(&d->w, value))
        return;
    else if (is_registered(d, value))
        d->w.ok = false;
    else if (PyByteArray_CheckExact(value) || PyMemoryView_Check(value))
        buffer_write(d, CODE_BUFFER, value);
    else if (array_is(value))
        buffer_write(d, CODE_ARRAY, value);
    else
        d->w.ok = false;
}

static void draft_begin(draft *d, PyObject *packs)
{
    d->packs = packs;
    d->count = 0;
    d->w = (packer){.at = d->head, .room = sizeof d->head, .ok = true};
}

static bool draft_end(draft *d)
{
    d->size = (size_t)(d->w.at - d->head);
    if (!d->w.ok) {
        PyErr_Clear(); /* of a class whose hash raises */
        draft_drop(d);
    }
    return d->w.ok;
}

void draft_drop(draft *d)
{
    while (d->count > 0)
        PyBuffer_Release(&d->views[--d->count]);
}

/* The items of a tuple or a list, got by its own function. */
static bool items_write(draft *d, PyObject *given, Py_ssize_t count,
                        PyObject *(*get)(PyObject *, Py_ssize_t))
{
    d->w.ok = count <= ARGUMENTS_MOST;
    put_number(&d->w, (uint8_t)(0x90 | (count & 0x0f)), 0, 0);
    for (Py_ssize_t i = 0; d->w.ok && i < count; i++) {
        PyObject *item = Py_XNewRef(get(given, i)); /* a finalizer may shorten a list meanwhile */
        d->w.ok = item != NULL;
        if (item != NULL)
            item_write(d, item);
        Py_XDECREF(item);
    }
    return draft_end(d);
}

bool draft_arguments(draft *d, PyObject *packs, PyObject *tuple)
{
    draft_begin(d, packs);
    return items_write(d, tuple, PyTuple_Size(tuple), PyTuple_GetItem);
}

bool draft_value(draft *d, PyObject *packs, PyObject *value)
{
    if (PyTuple_CheckExact(value))
        return draft_arguments(d, packs, value);
    draft_begin(d, packs);
    if (PyList_CheckExact(value))
        return items_write(d, value, PyList_Size(value), PyList_GetItem);
    item_write(d, value);
    return draft_end(d);
}
