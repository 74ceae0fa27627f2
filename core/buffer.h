// Uninitialized memory, aligned to a cache line.
#ifndef LOSSD_CORE_BUFFER_H_
#define LOSSD_CORE_BUFFER_H_

#include <cstddef>
#include <memory>
#include <new>

namespace lossd {

/// A block of bytes that nobody has touched yet. The operating system's kernel provides pages as
/// they are written, so that a peer that states a large shape and sends little costs little.
class Buffer {
 public:
  static constexpr size_t kAlignment = 64;

  Buffer() = default;
  /// Throws std::bad_alloc. A size of 0 allocates nothing.
  explicit Buffer(size_t size) : size_(size) {
    if (size == 0) return;
    memory_.reset(static_cast<std::byte*>(::operator new (size, std::align_val_t{kAlignment})));
  }

  [[nodiscard]] std::byte* data() const { return memory_.get(); }
  [[nodiscard]] size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(std::byte* memory) const {
      ::operator delete (memory, std::align_val_t{kAlignment});
    }
  };
  std::unique_ptr<std::byte, Free> memory_;
  size_t size_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_CORE_BUFFER_H_
