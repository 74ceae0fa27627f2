// Ends calls of one message that wait for their peer too long, or too many at a time.
#ifndef LOSSD_SERVER_ENGINE_MESSAGE_WATCH_H_
#define LOSSD_SERVER_ENGINE_MESSAGE_WATCH_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>

#include "server/engine/idle_watch.h"

namespace lossd {

/// The same patience for all, so that one clock and a list serve them: a clock for each would cost
/// a small call more than its evaluation. Thread-safe; outlives its tickets.
class MessageWatch {
 public:
  class Waiting {
   public:
    virtual ~Waiting() = default;
    // Called with no lock held, once for each wait.
    /// The wait is too long.
    virtual void OnLate() = 0;
    /// Messages under way hold too much memory, and this is one of the oldest.
    virtual void OnCrowded() = 0;
  };

  /// What a call waits for: its message, or that its answer is taken.
  enum class For : uint8_t { kMessage, kTaking };

  /// A call's place among those that wait. It must have left when it is destroyed.
  class Ticket {
   private:
    friend class MessageWatch;
    struct Entry {
      std::weak_ptr<Waiting> waiting;
      std::chrono::steady_clock::time_point begin;
      Ticket* ticket;
      For what;
    };
    std::list<Entry>::iterator place_;
    bool waits_ = false;
  };

  /// What messages under way may hold together.
  struct Crowd {
    /// Bytes that they hold now, as far as is known.
    std::function<uint64_t()> held;
    uint64_t most;
  };

  /// The greatest patience never runs out. Where messages hold more than `crowd` allows, so many of
  /// those that are under way for longer than a tenth of a second end, the oldest ones first, as
  /// bring them to half of that.
  MessageWatch(IdleWatch* watch, std::chrono::milliseconds patience, Crowd crowd);
  ~MessageWatch();
  MessageWatch(const MessageWatch&) = delete;
  MessageWatch& operator=(const MessageWatch&) = delete;

  /// `waiting` waits from now on, whether or not it waited before. Throws std::bad_alloc.
  void Enter(std::weak_ptr<Waiting> waiting, For what, Ticket* ticket);
  void Leave(Ticket* ticket);

  [[nodiscard]] std::chrono::milliseconds patience() const { return patience_; }

 private:
  using Entries = std::list<Ticket::Entry>;
  /// Outlives the watch, for a look that is under way while it goes.
  struct Owner {
    std::mutex mutex;
    MessageWatch* watch;
  };
  void Look();
  // With mutex_ held:
  /// Moves those that are late to `ended`.
  void TakeLate(std::chrono::steady_clock::time_point now, Entries* ended);
  /// Moves those to `ended` that are too many.
  void TakeCrowd(std::chrono::steady_clock::time_point now, Entries* ended);
  Entries::iterator Take(Entries::iterator entry, Entries* ended);

  const std::chrono::milliseconds patience_;
  const Crowd crowd_;
  const std::shared_ptr<Owner> owner_ = std::make_shared<Owner>();
  std::mutex mutex_;
  Entries entries_;  // In the order of their beginnings.
  std::shared_ptr<IdleWatch::Clock> clock_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_MESSAGE_WATCH_H_
