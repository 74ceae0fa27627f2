#include "server/engine/message_watch.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

namespace lossd {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kBetweenLooks{100};
/// Fewer messages are no crowd, whatever else holds memory.
constexpr size_t kLeastCrowd = 8;

}  // namespace

MessageWatch::MessageWatch(IdleWatch* watch, std::chrono::milliseconds patience, Crowd crowd)
    : patience_(patience), crowd_(std::move(crowd)) {
  owner_->watch = this;
  clock_ = watch->NewClock([owner = owner_] {
    const std::lock_guard<std::mutex> lock(owner->mutex);
    if (owner->watch != nullptr) owner->watch->Look();
  });
}

MessageWatch::~MessageWatch() {
  const std::lock_guard<std::mutex> lock(owner_->mutex);
  owner_->watch = nullptr;
}

void MessageWatch::Enter(std::weak_ptr<Waiting> waiting, For what, Ticket* ticket) {
  const auto now = SteadyClock::now();
  const std::lock_guard<std::mutex> lock(mutex_);
  if (ticket->waits_) {
    ticket->place_->begin = now;
    ticket->place_->what = what;
    return entries_.splice(entries_.end(), entries_, ticket->place_);
  }
  ticket->place_ = entries_.insert(entries_.end(), {std::move(waiting), now, ticket, what});
  ticket->waits_ = true;
  if (entries_.size() == 1) clock_->Set(kBetweenLooks);
}

void MessageWatch::Leave(Ticket* ticket) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (std::exchange(ticket->waits_, false)) entries_.erase(ticket->place_);
}

MessageWatch::Entries::iterator MessageWatch::Take(Entries::iterator entry, Entries* ended) {
  entry->ticket->waits_ = false;
  const auto next = std::next(entry);
  ended->splice(ended->end(), entries_, entry);
  return next;
}

void MessageWatch::TakeLate(SteadyClock::time_point now, Entries* ended) {
  // In milliseconds, which reach further than the clock's own nanoseconds.
  const auto waited = [now](const Ticket::Entry& entry) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(now - entry.begin);
  };
  while (!entries_.empty() && waited(entries_.front()) >= patience_) Take(entries_.begin(), ended);
}

void MessageWatch::TakeCrowd(SteadyClock::time_point now, Entries* ended) {
  size_t messages = 0;
  for (const Ticket::Entry& entry : entries_) {
    if (now - entry.begin < kBetweenLooks) break;
    if (entry.what == For::kMessage) ++messages;
  }
  if (messages < kLeastCrowd) return;
  const uint64_t held = crowd_.held();
  if (held <= crowd_.most) return;
  const double kept = static_cast<double>(crowd_.most) / 2 / static_cast<double>(held);
  auto too_many = messages - static_cast<size_t>(kept * static_cast<double>(messages));
  for (auto entry = entries_.begin(); entry != entries_.end() && too_many > 0;) {
    if (entry->what != For::kMessage) {
      ++entry;
      continue;
    }
    entry = Take(entry, ended);
    --too_many;
  }
}

void MessageWatch::Look() {
  Entries late;
  Entries crowd;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto now = SteadyClock::now();
    TakeLate(now, &late);
    TakeCrowd(now, &crowd);
    if (!entries_.empty()) clock_->Set(kBetweenLooks);
  }
  for (const auto& entry : late) {
    if (const auto waiting = entry.waiting.lock()) waiting->OnLate();
  }
  for (const auto& entry : crowd) {
    if (const auto waiting = entry.waiting.lock()) waiting->OnCrowded();
  }
}

}  // namespace lossd
