#include "tests/mockprovider/loop.h"

#include <algorithm>
#include <chrono>

#include "tests/mockprovider/session.h"

namespace spillway::mock {

int64_t NowMs() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

void WakeWheel::Wake(std::shared_ptr<Session> session, int64_t at_ms) {
  if (waiting_ == 0) tick_ms_ = NowMs();
  at_ms = std::max(at_ms, tick_ms_ + 1);
  slots_[static_cast<size_t>(at_ms % kSlots)].push_back({at_ms, std::move(session)});
  ++waiting_;
  Arm();
}

void WakeWheel::Arm() {
  if (armed_ || waiting_ == 0) return;
  armed_ = true;
  timer_.expires_after(std::chrono::milliseconds(1));
  timer_.async_wait([this](const boost::system::error_code& error) {
    armed_ = false;
    if (!error) Advance();
  });
}

void WakeWheel::Advance() {
  const int64_t now = NowMs();
  // After a pause longer than the wheel's round each slot needs one visit only.
  const int64_t from = std::max(tick_ms_ + 1, now - kSlots + 1);
  for (int64_t tick = from; tick <= now; ++tick) RunSlot(tick, now);
  tick_ms_ = now;
  Arm();
}

void WakeWheel::RunSlot(int64_t tick, int64_t now) {
  std::vector<Entry>& slot = slots_[static_cast<size_t>(tick % kSlots)];
  if (slot.empty()) return;
  std::vector<Entry> due;
  std::erase_if(slot, [&](Entry& entry) {
    if (entry.at_ms > now) return false;
    due.push_back(std::move(entry));
    return true;
  });
  waiting_ -= static_cast<int64_t>(due.size());
  for (const Entry& entry : due) entry.session->OnWake();
}

std::shared_ptr<Plan> Loop::PlanOf(const std::string& model) {
  constexpr size_t kPlansMax = 4096;
  const uint64_t version = world.book.version();
  if (version != plans_version_ || plans_.size() > kPlansMax) {
    plans_.clear();
    plans_version_ = version;
  }
  auto& plan = plans_[model];
  if (plan == nullptr) plan = world.book.Resolve(model);
  return plan;
}

std::string Loop::NextId() { return "mock" + std::to_string(index) + "x" + std::to_string(++ids_); }

}  // namespace spillway::mock
