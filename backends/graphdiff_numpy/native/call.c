// From Python into a plan: one call, which checks the arrays, runs the step without the interpreter's lock, and then
// brings numbers, gradients and versions to the variables, so that no interrupt falls between. It uses the stable ABI
// by its documented signatures; there is nothing to include.
#include <stddef.h>
#include <stdint.h>

typedef struct _object PyObject;
typedef ptrdiff_t Py_ssize_t;
typedef struct {
    void *buf; PyObject *obj; Py_ssize_t len, itemsize; int readonly, ndim; char *format;
    Py_ssize_t *shape, *strides, *suboffsets; void *internal;
} Py_buffer;
extern int PyObject_GetBuffer(PyObject *, Py_buffer *, int);
extern void PyBuffer_Release(Py_buffer *);
extern void PyErr_Clear(void);
extern void *PyEval_SaveThread(void);
extern void PyEval_RestoreThread(void *);
extern PyObject *PyObject_Type(PyObject *);
extern PyObject *PyLong_FromLong(long);
extern void *PyLong_AsVoidPtr(PyObject *);
extern PyObject *PyObject_GetAttr(PyObject *, PyObject *);
extern int PyObject_SetAttr(PyObject *, PyObject *, PyObject *);
extern PyObject *PyObject_GetItem(PyObject *, PyObject *);
extern int PyObject_SetItem(PyObject *, PyObject *, PyObject *);
extern PyObject *PyObject_CallObject(PyObject *, PyObject *);
extern PyObject *PyNumber_Add(PyObject *, PyObject *);
extern PyObject *PyList_GetItem(PyObject *, Py_ssize_t);
extern int PyList_SetItem(PyObject *, Py_ssize_t, PyObject *);
extern void Py_IncRef(PyObject *);
extern void Py_DecRef(PyObject *);

enum { STRIDED = 0x18, FORMATTED = 0x4, WRITABLE = 0x1, APART = -1, OTHER = -2 };

typedef struct {
    Py_ssize_t slot, itemsize, writable;
    PyObject *kind;
    const char *format;
    Py_ssize_t rank;
    const Py_ssize_t *shape;
} Argument;
typedef struct { char *begin; Py_ssize_t size; } Range;
typedef struct { PyObject *variable, *slot; } Load;
typedef struct { PyObject *variable, *name, *slot; Py_ssize_t argument; } Store;
typedef struct {
    int (*body)(void **);
    void **table;
    Py_ssize_t arguments, ranges, loads, stores, clocks, release, times;
    Argument *argument;
    Range *range;
    Load *load;
    Store *store;
    PyObject **clock;
    PyObject *nothing, *value, *next_serial, *turns;
} Plan;

// Whether an array is what the plan was made for.
static int is_alike(const Argument *argument, const Py_buffer *view) {
    if (view->ndim != argument->rank) return 0;
    for (int axis = 0; axis < view->ndim; ++axis)
        if (view->shape[axis] != argument->shape[axis]) return 0;
    const char *given = view->format, *wanted = argument->format;
    while (*wanted && *given == *wanted) ++given, ++wanted;
    return *given == *wanted;
}

// Whether an array lies by rows without gaps, where its elements may lie, and apart from what the step writes.
static int fits(const Plan *plan, const Argument *argument, const Py_buffer *view) {
    const Py_ssize_t aligned = argument->itemsize < 16 ? argument->itemsize : 16;
    if (view->itemsize != argument->itemsize || (uintptr_t)view->buf % aligned) return 0;
    Py_ssize_t dense = view->itemsize;
    for (int axis = view->ndim - 1; axis >= 0; --axis) {
        if (view->shape[axis] != 1 && view->strides[axis] != dense) return 0;
        dense *= view->shape[axis];
    }
    for (Py_ssize_t k = 0; k < plan->ranges; ++k) {
        const char *begin = view->buf;
        if (begin < plan->range[k].begin + plan->range[k].size && plan->range[k].begin < begin + view->len) return 0;
    }
    return 1;
}

static int loaded(const Plan *plan) {
    for (Py_ssize_t k = 0; k < plan->loads; ++k) {
        PyObject *value = PyObject_GetAttr(plan->load[k].variable, plan->value);
        if (!value) return 0;
        const int failed = PyObject_SetItem(plan->load[k].slot, plan->nothing, value);
        Py_DecRef(value);
        if (failed) return 0;
    }
    return 1;
}

static int stored(const Plan *plan, PyObject *const *given) {
    PyObject *serial = plan->clocks ? PyObject_CallObject(plan->next_serial, NULL) : NULL;
    for (Py_ssize_t k = 0; k < plan->clocks; ++k) {
        PyObject *version = PyNumber_Add(PyList_GetItem(plan->clock[k], 1), plan->turns);
        Py_IncRef(serial);
        PyList_SetItem(plan->clock[k], 0, serial);
        PyList_SetItem(plan->clock[k], 1, version);
    }
    if (serial) Py_DecRef(serial);
    for (Py_ssize_t k = 0; k < plan->stores; ++k) {
        const Store *store = &plan->store[k];
        PyObject *value = store->slot ? PyObject_GetItem(store->slot, plan->nothing) : given[store->argument];
        if (!value || PyObject_SetAttr(store->variable, store->name, value)) return 0;
        if (store->slot) Py_DecRef(value);
    }
    return 1;
}

static PyObject *call(PyObject *self, PyObject *const *given, Py_ssize_t count) {
    const Plan *plan = PyLong_AsVoidPtr(self);
    Py_buffer views[count + 1];
    int code = count == plan->arguments ? 0 : OTHER;
    Py_ssize_t taken = 0;
    for (; code == 0 && taken < count; ++taken) {
        const Argument *argument = &plan->argument[taken];
        PyObject *kind = PyObject_Type(given[taken]);
        Py_DecRef(kind);  // which the array holds on to
        const int flags = STRIDED | FORMATTED | (argument->writable ? WRITABLE : 0);
        if (kind != argument->kind || PyObject_GetBuffer(given[taken], &views[taken], flags)) {
            PyErr_Clear();
            code = OTHER;
            break;
        }
        if (!is_alike(argument, &views[taken])) code = OTHER;
        else if (!fits(plan, argument, &views[taken])) code = APART;
        plan->table[argument->slot] = views[taken].buf;
    }
    int failed = code == 0 && !loaded(plan);
    if (code == 0 && !failed) {
        void *state = plan->release ? PyEval_SaveThread() : NULL;
        for (Py_ssize_t turn = 0; code == 0 && turn < plan->times; ++turn) code = plan->body(plan->table);
        if (plan->release) PyEval_RestoreThread(state);
        failed = code == 0 && !stored(plan, given);
    }
    for (Py_ssize_t k = 0; k < taken; ++k) PyBuffer_Release(&views[k]);
    return failed ? NULL : PyLong_FromLong(code);
}

typedef struct { const char *name; PyObject *(*function)(PyObject *, PyObject *const *, Py_ssize_t); int flags; const char *doc; } Method;
Method method = {"step", call, 0x80, "Run a step."};
