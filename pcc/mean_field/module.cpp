// The door to Python: `infer` on buffers, without the interpreter's lock. Limited API, so that one build serves all versions.
#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <new>

#include "kernel.h"

namespace {

bool has_avx2()
{
#if PCC_HAS_X86
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

void infer(const Problem &problem)
{
#if PCC_HAS_X86
    if (has_avx2()) return infer_avx2(problem);
#endif
    infer_baseline(problem);
}

// Borrowed memory of a contiguous array, given back at the end of the scope.
class Buffer {
public:
    Buffer(PyObject *object, bool writable)
        : held_(PyObject_GetBuffer(object, &view_, PyBUF_C_CONTIGUOUS | (writable ? PyBUF_WRITABLE : 0)) == 0)
    {
    }
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;
    ~Buffer() { if (held_) PyBuffer_Release(&view_); }

    // Whether it could be had and has `bytes` bytes; if not, Python's error is set.
    bool has(std::size_t bytes, const char *name) const
    {
        if (held_ && static_cast<std::size_t>(view_.len) != bytes)
            PyErr_Format(PyExc_ValueError, "%s has %zd bytes instead of %zu", name, view_.len, bytes);
        return held_ && static_cast<std::size_t>(view_.len) == bytes;
    }
    void *data() const { return view_.buf; }

private:
    Py_buffer view_;
    bool held_;
};

PyObject *infer_from_python(PyObject *, PyObject *arguments)
{
    PyObject *image, *energies, *probabilities;
    Py_ssize_t labels, height, width;
    Problem problem{};
    if (!PyArg_ParseTuple(arguments, "OOOnnn(ff)(fff)i", &image, &energies, &probabilities, &labels, &height, &width,
                          &problem.smooth_xy, &problem.smooth_weight, &problem.colour_xy, &problem.colour_rgb,
                          &problem.colour_weight, &problem.iterations))
        return nullptr;
    constexpr Py_ssize_t MOST = 0xffffffff;  // pixels have 32-bit numbers
    if (labels < 1 || labels > 256 || height < 1 || width < 1 || height > MOST / width || problem.iterations < 0) {
        PyErr_Format(PyExc_ValueError, "no CRF of %zd labels on %zd x %zd pixels", labels, height, width);
        return nullptr;
    }
    problem.labels = labels, problem.height = height, problem.width = width;
    const std::size_t pixels = problem.height * problem.width;
    Buffer colours(image, false), given(energies, false), result(probabilities, true);
    if (!colours.has(pixels * 3, "image") || !given.has(pixels * labels * sizeof(float), "energies") ||
        !result.has(pixels * labels * sizeof(float), "probabilities"))
        return nullptr;
    problem.image = static_cast<const unsigned char *>(colours.data());
    problem.energies = static_cast<const float *>(given.data());
    problem.probabilities = static_cast<float *>(result.data());
    bool enough_memory = true;
    Py_BEGIN_ALLOW_THREADS
    try {
        infer(problem);
    } catch (const std::bad_alloc &) {
        enough_memory = false;
    }
    Py_END_ALLOW_THREADS
    if (!enough_memory) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

PyMethodDef methods[] = {
    {"infer", infer_from_python, METH_VARARGS,
     "infer(image, energies, probabilities, labels, height, width, (xy, weight), (xy, rgb, weight), iterations)\n\n"
     "Mean-field inference; probabilities, float32 [labels, height, width] like the energies, is written."},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef module = {PyModuleDef_HEAD_INIT, "kernel", nullptr, 0, methods, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit_kernel()
{
    PyObject *made = PyModule_Create(&module);
    if (made) PyModule_AddStringConstant(made, "INSTRUCTIONS", has_avx2() ? "avx2" : "baseline");
    return made;
}
