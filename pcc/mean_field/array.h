// Memory that is neither initialised nor copied, aligned to a cache line.
//
// Everything in here is in an unnamed namespace, as in the other headers: each is compiled once for every set of
// instructions, and the linker must not take one for another.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace {

template <class T>
class Array {
public:
    explicit Array(std::size_t size = 0) : values_(allocate(size)), size_(size) {}
    Array(Array &&other) noexcept : values_(other.values_), size_(other.size_) { other.leave(); }
    Array(const Array &) = delete;
    Array &operator=(Array &&other) noexcept
    {
        if (this == &other) return *this;
        std::free(values_);
        values_ = other.values_;
        size_ = other.size_;
        other.leave();
        return *this;
    }
    ~Array() { std::free(values_); }

    T &operator[](std::size_t i) { return values_[i]; }
    const T &operator[](std::size_t i) const { return values_[i]; }
    T *data() { return values_; }
    const T *data() const { return values_; }
    std::size_t size() const { return size_; }

    // All bytes of all elements.
    void fill(int byte) { if (size_) std::memset(static_cast<void *>(values_), byte, size_ * sizeof(T)); }

    // Keeps the first `kept` elements.
    void resize(std::size_t size, std::size_t kept)
    {
        Array larger(size);
        if (kept) std::memcpy(static_cast<void *>(larger.values_), values_, kept * sizeof(T));
        *this = static_cast<Array &&>(larger);
    }

private:
    static constexpr std::size_t LINE = 64, HUGE_PAGE = std::size_t(1) << 21;

    // Large arrays ask for huge pages: fresh memory costs a fault per page, and a table read at random one per address.
    static T *allocate(std::size_t size)
    {
        if (size == 0) return nullptr;
        if (size > (SIZE_MAX - HUGE_PAGE) / sizeof(T)) throw std::bad_alloc();
        std::size_t bytes = size * sizeof(T);
        const std::size_t unit = bytes < HUGE_PAGE ? LINE : HUGE_PAGE;
        void *memory = std::aligned_alloc(unit, bytes = (bytes + unit - 1) / unit * unit);
        if (!memory) throw std::bad_alloc();
#if defined(__linux__)
        if (unit == HUGE_PAGE) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
        return static_cast<T *>(memory);
    }

    void leave()
    {
        values_ = nullptr;
        size_ = 0;
    }

    T *values_;
    std::size_t size_;
};

}  // namespace
