#include "server/engine/idle_watch.h"

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace lossd {
namespace {

constexpr std::chrono::milliseconds kTick{100};

}  // namespace

void IdleWatch::Clock::Set(std::chrono::milliseconds patience) {
  using TimePoint = std::chrono::steady_clock::time_point;
  const auto now = std::chrono::steady_clock::now();
  // Compared in milliseconds: their range is larger than that of the clock's own nanoseconds.
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(TimePoint::max() - now);
  const std::lock_guard<std::mutex> lock(mutex_);
  end_ = patience < left ? now + patience : TimePoint::max();
  running_ = true;
}

void IdleWatch::Clock::Stop() {
  const std::lock_guard<std::mutex> lock(mutex_);
  running_ = false;
}

IdleWatch::IdleWatch() : thread_([this] { Work(); }) {}

IdleWatch::~IdleWatch() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

std::shared_ptr<IdleWatch::Clock> IdleWatch::NewClock(std::function<void()> expired) {
  std::shared_ptr<Clock> clock(new Clock(std::move(expired)));
  const std::lock_guard<std::mutex> lock(mutex_);
  clocks_.push_back(clock);
  return clock;
}

void IdleWatch::Work() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stopping_) {
    wake_.wait_for(lock, kTick);
    std::vector<std::shared_ptr<Clock>> expired;
    const auto now = std::chrono::steady_clock::now();
    for (auto at = clocks_.begin(); at != clocks_.end();) {
      auto clock = at->lock();
      if (clock == nullptr) {
        at = clocks_.erase(at);
        continue;
      }
      ++at;
      const std::lock_guard<std::mutex> own(clock->mutex_);
      if (!clock->running_ || clock->end_ > now) continue;
      clock->running_ = false;
      expired.push_back(std::move(clock));
    }
    lock.unlock();
    for (const auto& clock : expired) clock->expired_();
    expired.clear();
    lock.lock();
  }
}

}  // namespace lossd
