/* module.c - "how does Python come by all this?" As rudp._link, a second module in the file of
 * rudp._native: both stand on the same core, which so exists once. */
#include "python/request.h"
#include "python/scalars.h"
#include "python/service.h"

/* For tests, which compare it with the codec: what else uses it needs a node. */

enum { PACKED_MOST = 65536 + 64 };

static PyObject *module_pack(PyObject *self, PyObject *value)
{
    uint8_t out[PACKED_MOST];
    (void)self;
    size_t size = PyTuple_CheckExact(value) ? arguments_write(value, out, sizeof out)
                                            : scalar_write(value, out, sizeof out);
    if (size == 0)
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    return PyBytes_FromStringAndSize((const char *)out, (Py_ssize_t)size);
}

static PyObject *module_unpack(PyObject *self, PyObject *args)
{
    const char *bytes;
    Py_ssize_t size;
    int arguments;
    (void)self;
    if (!PyArg_ParseTuple(args, "y#p", &bytes, &size, &arguments))
        return NULL;
    const uint8_t *at = (const uint8_t *)bytes;
    PyObject *value = arguments ? arguments_read(at, (size_t)size) : scalar_read(at, (size_t)size);
    if (value == NULL)
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    PyObject *found = PyTuple_Pack(1, value);
    Py_DECREF(value);
    return found;
}

static PyMethodDef functions[] = {
    {"pack", module_pack, METH_O, "pack(value): its bytes, or None if it is not simple."},
    {"unpack", module_unpack, METH_VARARGS,
     "unpack(bytes, arguments): a tuple with the value in it, or None if it is not simple."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "rudp._link",
    .m_doc = "The hot path of rudp.Node, written against the limited API.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit__link(void);

PyMODINIT_FUNC PyInit__link(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && !(call_type_add(module) && request_type_add(module) &&
                            service_type_add(module) && link_type_add(module)))
        Py_CLEAR(module);
    if (module != NULL && (PyModule_AddIntConstant(module, "RAW", CALL_RAW) != 0 ||
                           PyModule_AddIntConstant(module, "ENDED", CALL_ENDED) != 0 ||
                           PyModule_AddIntConstant(module, "FAILED", CALL_FAILED) != 0))
        Py_CLEAR(module);
    return module;
}
