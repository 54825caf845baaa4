#include "controlplane/publish/epoch.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include "common/ids.h"
#include "common/log.h"
#include "common/subjects.h"

namespace spillway {
namespace {

constexpr int64_t kLeapMax = 1'000'000;  // above the highest known number: not believed
constexpr size_t kNonceBytesMax = 64;
constexpr std::string_view kStoreKey = "epoch";

std::string TextOf(const Epoch::Value& value) {
  return std::to_string(value.counter) + " " + value.nonce;
}

bool Above(const Epoch::Value& a, const Epoch::Value& b) {
  return std::pair(a.counter, std::string_view(a.nonce)) >
         std::pair(b.counter, std::string_view(b.nonce));
}

}  // namespace

Result<Epoch::Value> ParseEpoch(std::string_view text) {
  Epoch::Value value;
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  const auto number = std::from_chars(begin, end, value.counter);
  const bool good =
      number.ec == std::errc{} && value.counter > 0 && number.ptr + 1 < end && *number.ptr == ' ';
  if (!good) return Fail(ErrorCode::kCorrupt, "an epoch that cannot be read");
  value.nonce = std::string(number.ptr + 1, end);
  if (value.nonce.size() > kNonceBytesMax) {
    return Fail(ErrorCode::kCorrupt, "an epoch with an overlong nonce");
  }
  return value;
}

Epoch::Epoch(Bus& bus, Store& store, WriteGate& gate, std::function<void(std::string)> on_fenced)
    : bus_(bus), store_(store), gate_(gate), on_fenced_(std::move(on_fenced)) {
  // Unreadable is as good as absent: NATS and the data planes know the number too.
  if (const auto stored = store_.Get(Table::kMeta, kStoreKey); stored && *stored) {
    own_ = ParseEpoch(**stored).value_or(Value{});
  }
  seen_ = own_.counter;
  auto watch = bus_.Subscribe(subjects::kEpoch,
                              [this](const BusMessage& message) { Watch(message.payload); });
  if (watch) watch_ = *std::move(watch);  // without it, Confirm finds out a little later
}

Epoch::~Epoch() = default;

Result<Epoch::Found> Epoch::Read() {
  SW_TRY(const auto last, bus_.GetLast(subjects::kControlStream, subjects::kEpoch));
  if (!last) return Found{};
  // What cannot be read is replaced, by compare-and-set on its sequence.
  return Found{.value = ParseEpoch(last->payload).value_or(Value{}), .seq = last->stream_seq};
}

Result<void> Epoch::Write(const Value& value, uint64_t subject_seq) {
  Bus::PublishOptions options;
  options.expect_last_subject_seq = subject_seq;
  SW_CHECK(bus_.PublishToStream(subjects::kEpoch, TextOf(value), options));
  return {};
}

Result<int64_t> Epoch::Claim() {
  const std::lock_guard claiming(claiming_);
  if (fenced()) return Fail(ErrorCode::kStale, "another control plane holds a higher epoch");
  SW_TRY(const Found found, Read());
  Value value;
  {
    const std::lock_guard lock(mutex_);
    seen_ = std::max(seen_, found.value.counter);
    // An earlier attempt whose answer was lost may have been stored after all.
    const bool landed = candidate_.counter > own_.counter && candidate_ == found.value &&
                        seen_ == candidate_.counter;
    if (!landed) {
      if (seen_ == std::numeric_limits<int64_t>::max()) {
        return Fail(ErrorCode::kCorrupt, "the epoch on NATS leaves no higher one");
      }
      candidate_ = {.counter = seen_ + 1, .nonce = FreshId()};
    }
    value = candidate_;
    if (landed) value = found.value;
  }
  if (value != found.value) SW_CHECK(Write(value, found.seq));
  return Take(value);
}

// Stored before it is used: a restart never claims it a second time.
Result<int64_t> Epoch::Take(const Value& value) {
  WriteBatch batch;
  batch.Put(Table::kMeta, kStoreKey, TextOf(value));
  SW_CHECK(store_.Write(std::move(batch)));
  std::vector<std::function<void(int64_t)>> callbacks;
  {
    const std::lock_guard lock(mutex_);
    own_ = value;
    seen_ = std::max(seen_, value.counter);
    callbacks = on_claimed_;
  }
  value_.store(value.counter, std::memory_order_release);
  gate_.Release(WriteHold::kEpoch);
  log::Info("epoch claimed", {{"epoch", value.counter}});
  for (const auto& callback : callbacks) callback(value.counter);
  return value.counter;
}

Result<void> Epoch::Confirm() {
  const std::lock_guard claiming(claiming_);
  if (value() == 0) return {};
  SW_TRY(const Found found, Read());
  Value own;
  {
    const std::lock_guard lock(mutex_);
    own = own_;
  }
  if (found.value == own) return {};
  if (Above(found.value, own)) {
    Fence(found.value);
    return Fail(ErrorCode::kStale, "another control plane holds a higher epoch");
  }
  return Write(own, found.seq);
}

void Epoch::Watch(std::string_view text) {
  if (value() == 0) return;
  const auto heard = ParseEpoch(text);
  if (!heard) return;
  {
    const std::lock_guard lock(mutex_);
    if (*heard == own_ || *heard == candidate_ || !Above(*heard, own_)) return;
  }
  Fence(*heard);
}

void Epoch::Fence(const Value& other) {
  if (fenced_.exchange(true)) return;
  value_.store(0, std::memory_order_release);
  const std::string why = "another control plane claimed epoch " + std::to_string(other.counter) +
                          ": this one must stop";
  gate_.Hold(WriteHold::kEpoch, why);
  if (on_fenced_) on_fenced_(why);
}

void Epoch::Observe(int64_t counter) {
  const std::lock_guard lock(mutex_);
  if (counter > seen_ && counter - seen_ <= kLeapMax) seen_ = counter;
}

bool Epoch::Outbid() const {
  const std::lock_guard lock(mutex_);
  return own_.counter < seen_;
}

void Epoch::OnClaimed(std::function<void(int64_t)> callback) {
  const std::lock_guard lock(mutex_);
  on_claimed_.push_back(std::move(callback));
}

}  // namespace spillway
