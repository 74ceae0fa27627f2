// A cache of objects made from recent messages, for similar messages that follow.
#ifndef LOSSD_PROTO_CODEC_RECENT_H_
#define LOSSD_PROTO_CODEC_RECENT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

namespace lossd {

/// A few slots with one T each. The message size selects the slot; sizes may share a slot and then
/// replace each other's T. Thread-safe.
template <typename T>
class Recent {
 public:
  /// The T kept last in the slot of `size`, perhaps for another size; null if the slot is empty.
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

  /// Fibonacci hashing, which spreads the sizes of neighbouring batches over the slots.
  static size_t SlotOf(size_t size) {
    return static_cast<size_t>((uint64_t{size} * 0x9E3779B97F4A7C15U) >> (64U - kSlotBits));
  }

  std::array<Slot, size_t{1} << kSlotBits> slots_;
};

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_RECENT_H_
