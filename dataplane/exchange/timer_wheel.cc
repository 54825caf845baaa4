#include "dataplane/exchange/timer_wheel.h"

#include <algorithm>
#include <utility>

namespace spillway {

Deadline::Deadline(TimerWheel& wheel, std::function<void()> on_due)
    : wheel_(wheel), on_due_(std::move(on_due)) {}

Deadline::~Deadline() {
  if (filed_ns_ != 0) wheel_.Unfile(*this);
}

void Deadline::SetAfterMs(int64_t ms) {
  due_ns_ = wheel_.clock_.MonotonicNs() + std::max<int64_t>(ms, 0) * 1'000'000;
  // Filed early enough already: Advance finds it there and files it again.
  if (filed_ns_ != 0 && filed_ns_ <= due_ns_) return;
  if (filed_ns_ != 0) wheel_.Unfile(*this);
  wheel_.File(*this);
}

void Deadline::Clear() { due_ns_ = 0; }

TimerWheel::TimerWheel(boost::asio::io_context& io, const Clock& clock)
    : clock_(clock), timer_(io.get_executor()), tick_(clock.MonotonicNs() / kTickNs) {}

TimerWheel::~TimerWheel() = default;

void TimerWheel::File(Deadline& deadline) {
  // A wheel without deadlines stands still; it catches up here.
  if (filed_ == 0 && !advancing_) tick_ = clock_.MonotonicNs() / kTickNs;
  const int64_t due_tick = (deadline.due_ns_ + kTickNs - 1) / kTickNs;
  const int64_t tick = std::clamp(due_tick, tick_ + 1, tick_ + kSlots - 1);
  Deadline*& head = slots_[static_cast<size_t>(tick % kSlots)];
  deadline.filed_ns_ = tick * kTickNs;
  deadline.previous_ = nullptr;
  deadline.next_ = head;
  if (head != nullptr) head->previous_ = &deadline;
  head = &deadline;
  ++filed_;
  if (!advancing_) Arm(tick);
}

void TimerWheel::Unfile(Deadline& deadline) {
  if (deadline.next_ != nullptr) deadline.next_->previous_ = deadline.previous_;
  if (deadline.previous_ != nullptr) {
    deadline.previous_->next_ = deadline.next_;
  } else {
    slots_[static_cast<size_t>(deadline.filed_ns_ / kTickNs % kSlots)] = deadline.next_;
  }
  deadline.previous_ = deadline.next_ = nullptr;
  deadline.filed_ns_ = 0;
  --filed_;
}

void TimerWheel::Arm(int64_t tick) {
  if (armed_tick_ != 0 && armed_tick_ <= tick) return;
  armed_tick_ = tick;
  const int64_t wait_ns = tick * kTickNs - clock_.MonotonicNs();
  timer_.expires_after(std::chrono::nanoseconds(std::max<int64_t>(wait_ns, 0)));
  timer_.async_wait([this](boost::system::error_code error) {
    if (error) return;  // armed anew, or the wheel is gone
    armed_tick_ = 0;
    Advance();
  });
}

void TimerWheel::ArmNext() {
  if (filed_ == 0) return;
  int64_t tick = tick_ + 1;
  while (slots_[static_cast<size_t>(tick % kSlots)] == nullptr) ++tick;
  Arm(tick);
}

void TimerWheel::Advance() {
  advancing_ = true;
  const int64_t now_ns = clock_.MonotonicNs();
  const int64_t now_tick = now_ns / kTickNs;
  // After a long stop each slot needs one visit only.
  tick_ = std::max(tick_, now_tick - kSlots);
  while (tick_ < now_tick && filed_ > 0) {
    ++tick_;
    Deadline*& head = slots_[static_cast<size_t>(tick_ % kSlots)];
    while (head != nullptr) {
      Deadline& deadline = *head;
      Unfile(deadline);
      if (deadline.due_ns_ == 0) continue;
      if (deadline.due_ns_ > now_ns) {
        File(deadline);
      } else {
        deadline.due_ns_ = 0;
        deadline.on_due_();
      }
    }
  }
  tick_ = std::max(tick_, now_tick);
  advancing_ = false;
  ArmNext();
}

}  // namespace spillway
