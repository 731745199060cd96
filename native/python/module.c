/* module.c - "how does Python come by all this?" As rudp._link, a second module in the file of
 * rudp._native: both stand on the same core, which so exists once. */
#include "python/service.h"

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "rudp._link",
    .m_doc = "The hot path of rudp.Node, written against the limited API.",
    .m_size = -1,
};

PyMODINIT_FUNC PyInit__link(void);

PyMODINIT_FUNC PyInit__link(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL &&
        !(call_type_add(module) && service_type_add(module) && link_type_add(module)))
        Py_CLEAR(module);
    if (module != NULL && (PyModule_AddIntConstant(module, "RAW", CALL_RAW) != 0 ||
                           PyModule_AddIntConstant(module, "ENDED", CALL_ENDED) != 0 ||
                           PyModule_AddIntConstant(module, "FAILED", CALL_FAILED) != 0))
        Py_CLEAR(module);
    return module;
}
