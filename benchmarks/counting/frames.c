/* Shows callgrind which part of a program a Python frame belongs to.
 *
 * Callgrind sees C functions, and all Python code is one of them. This module evaluates
 * frames (PEP 523) and has callgrind dump what it has counted, under the name of the part
 * that it was counted for, whenever the program goes from one part into another and
 * back. Frames without a part of their own belong to the part that they are called from.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#if PY_VERSION_HEX < 0x030C0000
#define Py_BUILD_CORE
#include <internal/pycore_frame.h>
#undef Py_BUILD_CORE
#endif
#include <valgrind/callgrind.h>

typedef struct {
    const char *part; /* NULL: that of the caller */
    int begins;       /* a call begins with this frame */
} Place; /* parts are interned, so that they can be compared by their address */

static Py_ssize_t extra; /* where a code object keeps its Place */
static PyObject *place_of; /* (filename, qualified name) -> (part or None, whether a call begins) */
static long calls_before, calls_counted, calls_seen;
static int asking, counting;
static const char *current, *by_the_clock; /* the part that is being counted; the one that no other interrupts */

static Place *ask(PyCodeObject *code)
{
    Place *place = PyMem_Calloc(1, sizeof(Place));
    PyObject *found = NULL, *part;
    if (place == NULL)
        return NULL;
    asking = 1;
    found = PyObject_CallFunctionObjArgs(place_of, code->co_filename, code->co_qualname, NULL);
    asking = 0;
    if (found == NULL || !PyArg_ParseTuple(found, "Op", &part, &place->begins))
        goto failed;
    if (part != Py_None) {
        Py_INCREF(part); /* for as long as the process lives */
        if ((place->part = PyUnicode_AsUTF8(part)) == NULL)
            goto failed;
    }
    Py_DECREF(found);
    _PyCode_SetExtra((PyObject *)code, extra, place);
    return place;
failed:
    Py_XDECREF(found);
    PyMem_Free(place);
    return NULL;
}

static void call_begins(void)
{
    calls_seen++;
    if (calls_seen == calls_before + 1) {
        CALLGRIND_DUMP_STATS_AT("start");
        counting = 1;
    } else if (calls_seen == calls_before + calls_counted + 1) {
        CALLGRIND_DUMP_STATS_AT(current);
        counting = 0;
    }
}

static void go_to(const char *part)
{
    if (counting)
        CALLGRIND_DUMP_STATS_AT(current);
    current = part;
}

static PyObject *evaluate(PyThreadState *state, struct _PyInterpreterFrame *frame, int throwing)
{
    Place *place = NULL;
    const char *before = current;
    PyObject *result;
    if (!asking) {
#if PY_VERSION_HEX < 0x030C0000
        PyCodeObject *code = frame->f_code;
        Py_INCREF(code);
#else
        PyCodeObject *code = (PyCodeObject *)PyUnstable_InterpreterFrame_GetCode(frame);
#endif
        _PyCode_GetExtra((PyObject *)code, extra, (void **)&place);
        if (place == NULL && (place = ask(code)) == NULL)
            PyErr_WriteUnraisable((PyObject *)code);
        Py_DECREF(code);
    }
    if (place != NULL && place->begins)
        call_begins();
    if (place == NULL || place->part == NULL || place->part == current || current == by_the_clock)
        return _PyEval_EvalFrameDefault(state, frame, throwing);
    go_to(place->part);
    result = _PyEval_EvalFrameDefault(state, frame, throwing);
    go_to(before);
    return result;
}

static PyObject *install(PyObject *self, PyObject *arguments)
{
    (void)self;
    if (!PyArg_ParseTuple(arguments, "Ossll", &place_of, &current, &by_the_clock, &calls_before, &calls_counted))
        return NULL;
    Py_INCREF(arguments); /* for as long as the process lives */
    extra = _PyEval_RequestCodeExtraIndex(PyMem_Free);
    _PyInterpreterState_SetEvalFrameFunc(PyInterpreterState_Get(), evaluate);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"install", install, METH_VARARGS,
     "install(place_of, outside, by_the_clock, before, counted): count `counted` calls, after `before` others."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "frames", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_frames(void)
{
    return PyModule_Create(&module);
}
