/* limited.h - "which Python is this written against?" The limited API of 3.11: one wheel runs on
 * every later version. Included before anything else. */
#ifndef RUDP_PYTHON_LIMITED_H
#define RUDP_PYTHON_LIMITED_H

#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030b0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#endif
