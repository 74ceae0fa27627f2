// What was made of messages of late, for the next ones like them.
#ifndef LOSSD_PROTO_CODEC_RECENT_H_
#define LOSSD_PROTO_CODEC_RECENT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

namespace lossd {

/// One T for each of a few sizes of messages, where those of another size may take its place.
/// Thread-safe.
template <typename T>
class Recent {
 public:
  /// What was kept last in the place of that size, perhaps for another; null where nothing was.
  [[nodiscard]] std::shared_ptr<const T> At(size_t size) {
    Slot& slot = slots_[SlotOf(size)];
    const std::lock_guard<std::mutex> lock(slot.mutex);
    return slot.kept;
  }

  void Keep(size_t size, std::shared_ptr<const T> made) {
    Slot& slot = slots_[SlotOf(size)];
    const std::lock_guard<std::mutex> lock(slot.mutex);
    slot.kept.swap(made);
  }

 private:
  struct Slot {
    std::mutex mutex;
    std::shared_ptr<const T> kept;
  };
  static constexpr unsigned kSlotBits = 6;

  /// Sizes of neighbouring batches fall far apart: Fibonacci hashing.
  static size_t SlotOf(size_t size) {
    return static_cast<size_t>((uint64_t{size} * 0x9E3779B97F4A7C15U) >> (64U - kSlotBits));
  }

  std::array<Slot, size_t{1} << kSlotBits> slots_;
};

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_RECENT_H_
