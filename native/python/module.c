/* module.c - "how does Python come by all this?" As rudp._link, a second module in the file of
 * rudp._native: both stand on the same core, which so exists once. */
#include "python/limited.h"

#include <string.h>

#include "io/pool.h"
#include "python/lent.h"
#include "python/service.h"

/* pack and unpack are for tests, which compare them with the codec. */

/* The bytes as the core reads them out of its memory, which goes. */
static PyObject *memory_bytes(rudp_memory *memory)
{
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)memory->size);
    uint8_t *at = bytes == NULL ? NULL : (uint8_t *)PyBytes_AsString(bytes);
    struct iovec ranges[2 * PARTS_MOST];
    uint64_t covered = 0;
    uint32_t count =
        memory_range(memory_handle(memory), 0, memory->size, ranges, 2 * PARTS_MOST, &covered);
    for (uint32_t i = 0; at != NULL && i < count; at += ranges[i].iov_len, i++)
        memcpy(at, ranges[i].iov_base, ranges[i].iov_len);
    parcel_free(memory);
    return bytes;
}

/* pack(value, registered types, longest message) */
static PyObject *module_pack(PyObject *self, PyObject *args)
{
    PyObject *value, *packs;
    unsigned long long max_message;
    draft d;
    (void)self;
    if (!PyArg_ParseTuple(args, "OO!K", &value, &PyDict_Type, &packs, &max_message))
        return NULL;
    if (!draft_value(&d, packs, value))
        return Py_NewRef(Py_None);
    PyObject *lent = PyDict_New();
    rudp_memory *memory = lent == NULL ? NULL : lent_add(lent, 1, &d, max_message);
    PyObject *bytes = memory == NULL ? Py_NewRef(Py_None) : memory_bytes(memory);
    draft_drop(&d);
    Py_XDECREF(lent);
    return bytes;
}

/* In memory like that of a message that was received. */
static PyObject *unpack_received(received_message *m, bool arguments)
{
    block *b = pool_take(m->size);
    if (b == NULL)
        return NULL;
    memcpy(b->data, m->at, m->size);
    m->at = m->memory = b->data;
    PyObject *value = arguments ? received_arguments(m) : received_value(m);
    if (value == NULL)
        pool_give(b);
    return value;
}

static PyObject *module_unpack(PyObject *self, PyObject *args)
{
    const char *bytes;
    Py_ssize_t size;
    unsigned long long max_head;
    int arguments, received;
    (void)self;
    if (!PyArg_ParseTuple(args, "y#ppK", &bytes, &size, &arguments, &received, &max_head))
        return NULL;
    received_message m = {(const uint8_t *)bytes, (size_t)size, NULL, max_head};
    PyObject *value;
    if (received)
        value = unpack_received(&m, arguments != 0);
    else
        value = arguments ? received_arguments(&m) : received_value(&m);
    if (value == NULL)
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    PyObject *found = PyTuple_Pack(1, value);
    Py_DECREF(value);
    return found;
}

static PyMethodDef functions[] = {
    {"pack", module_pack, METH_VARARGS,
     "pack(value, registered types, longest message): its bytes, or None if it is not simple."},
    {"unpack", module_unpack, METH_VARARGS,
     "unpack(bytes, arguments, received, longest head): a tuple with the value in it, or None if "
     "it "
     "is not simple."},
    {"attend", link_attend, METH_VARARGS,
     "attend(weak reference to a node, us): wait for events and handle them."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "rudp._link",
    .m_doc = "The hot path of nodes, written against the limited API.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit__link(void);

PyMODINIT_FUNC PyInit__link(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL &&
        !(lent_type_add(module) && received_type_add(module) && call_type_add(module) &&
          request_type_add(module) && service_type_add(module) && link_type_add(module)))
        Py_CLEAR(module);
    if (module != NULL && (PyModule_AddIntConstant(module, "RAW", CALL_RAW) != 0 ||
                           PyModule_AddIntConstant(module, "ENDED", CALL_ENDED) != 0 ||
                           PyModule_AddIntConstant(module, "FAILED", CALL_FAILED) != 0))
        Py_CLEAR(module);
    return module;
}
