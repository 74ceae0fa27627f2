// Timers that end calls which have waited too long for their peer.
#ifndef LOSSD_SERVER_ENGINE_IDLE_WATCH_H_
#define LOSSD_SERVER_ENGINE_IDLE_WATCH_H_

#include <chrono>
#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

namespace lossd {

/// One thread that checks all clocks a few times a second. Thread-safe; outlives its clocks.
class IdleWatch {
 public:
  /// A clock that can be set and stopped. Its function runs on the watch's thread, with no lock
  /// held, once for each time that the clock runs out; it must not block.
  class Clock {
   public:
    /// Runs out `patience` from now; replaces any earlier setting. Never runs out if `patience`
    /// passes the last time point, as milliseconds::max() does.
    void Set(std::chrono::milliseconds patience);
    void Stop();

   private:
    friend class IdleWatch;
    explicit Clock(std::function<void()> expired) : expired_(std::move(expired)) {}
    std::mutex mutex_;
    const std::function<void()> expired_;
    std::chrono::steady_clock::time_point end_;
    bool running_ = false;
  };

  IdleWatch();
  ~IdleWatch();
  IdleWatch(const IdleWatch&) = delete;
  IdleWatch& operator=(const IdleWatch&) = delete;

  /// Returns a stopped clock; the watch drops it when its last owner releases it.
  std::shared_ptr<Clock> NewClock(std::function<void()> expired);

 private:
  void Work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::list<std::weak_ptr<Clock>> clocks_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_IDLE_WATCH_H_
