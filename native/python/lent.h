/* lent.h - "who holds the buffers of a message until the core lets go of them?" Rule 21.
 *
 *   Core.lent   token: Lent   ->  front: header, table, head, padding     its own bytes
 *                                 views: part, part ...                   the application's
 *
 * A Lent is made of a draft and takes over its views; or of the pieces of a message that the codec
 * has encoded, and then it has no front. It goes in one of two ways: by RELEASED, or when the core
 * is freed. */
#ifndef RUDP_PYTHON_LENT_H
#define RUDP_PYTHON_LENT_H

#include "include/rudp.h"
#include "python/draft.h"

/* False with an exception set. */
bool lent_type_add(PyObject *module);
/* A message of at most that many bytes, held in the dictionary under the token; the draft is empty
 * then. NULL, and no exception: it is longer, or there is no memory. */
rudp_memory *lent_add(PyObject *lent, uint64_t token, draft *d, uint64_t max_message);
/* A message of buffers as they are, in a list. NULL: there is no memory, or an exception. */
rudp_memory *lent_parts(PyObject *lent, uint64_t token, PyObject *parts);
/* The core let go of what has that token, whoever lent it. */
void lent_remove(PyObject *lent, uint64_t token);

#endif
