/* request.c - the fields of a request. */
#include "python/request.h"

#include <stddef.h>
#include <structmember.h>

request_object *request_new(PyObject *type, PyObject *method, PyObject *node)
{
    request_object *r = (request_object *)PyType_GenericAlloc((PyTypeObject *)type, 0);
    if (r == NULL)
        return NULL;
    r->method = Py_NewRef(method);
    r->node = Py_NewRef(node);
    r->open = true;
    return r;
}

/* Request(id, method, expires, node, peer) */
static PyObject *request_make(PyTypeObject *type, PyObject *args, PyObject *options)
{
    unsigned long long id, expires;
    unsigned int peer;
    PyObject *method, *node;
    (void)options;
    if (!PyArg_ParseTuple(args, "KUKOI", &id, &method, &expires, &node, &peer))
        return NULL;
    request_object *r = request_new((PyObject *)type, method, node);
    if (r == NULL)
        return NULL;
    r->id = id;
    r->expires = expires;
    r->peer = peer;
    return (PyObject *)r;
}

static int request_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((request_object *)self)->method);
    Py_VISIT(((request_object *)self)->node);
    return 0;
}

static int request_clear(PyObject *self)
{
    Py_CLEAR(((request_object *)self)->method);
    Py_CLEAR(((request_object *)self)->node);
    return 0;
}

static void request_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    request_clear(self);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMemberDef request_members[] = {
    {"id", T_ULONGLONG, offsetof(request_object, id), READONLY, NULL},
    {"method", T_OBJECT_EX, offsetof(request_object, method), READONLY, NULL},
    {"open", T_BOOL, offsetof(request_object, open), 0, "Until the reply is sent."},
    {"cancelled", T_BOOL, offsetof(request_object, cancelled), 0, NULL},
    {"_expires", T_ULONGLONG, offsetof(request_object, expires), READONLY, NULL},
    {"_node", T_OBJECT_EX, offsetof(request_object, node), READONLY, NULL},
    {"_peer_id", T_UINT, offsetof(request_object, peer), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot request_slots[] = {
    {Py_tp_doc, "The fields of a request."},
    {Py_tp_new, request_make},
    {Py_tp_dealloc, request_dealloc},
    {Py_tp_traverse, request_traverse},
    {Py_tp_clear, request_clear},
    {Py_tp_members, request_members},
    {0, NULL},
};

static PyType_Spec request_spec = {
    .name = "rudp._link.Request",
    .basicsize = sizeof(request_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = request_slots,
};

bool request_type_add(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&request_spec);
    bool ok = type != NULL && PyModule_AddObjectRef(module, "Request", type) == 0;
    Py_XDECREF(type);
    return ok;
}
