#include <nats/nats.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "common/nats_bus_calls.h"
#include "common/nats_bus_rep.h"

namespace spillway {
namespace {

constexpr int64_t kAckWaitNs = 30'000'000'000;
constexpr int64_t kAckPendingMax = 20'000;
constexpr int64_t kFlushTimeoutMs = 2'000;

struct FreeSubscription {
  void operator()(natsSubscription* subscription) const { natsSubscription_Destroy(subscription); }
};
struct FreeInfo {
  void operator()(jsConsumerInfo* info) const { jsConsumerInfo_Destroy(info); }
};
struct FreeMetadata {
  void operator()(jsMsgMetaData* metadata) const { jsMsgMetaData_Destroy(metadata); }
};

// kNotFound: neither the consumer nor, it may be, its stream.
Result<void> Look(NatsLink& link, const ConsumerSpec& spec) {
  jsOptions options = Waiting();
  auto code = static_cast<jsErrCode>(0);
  jsConsumerInfo* raw = nullptr;
  const natsStatus status =
      js_GetConsumerInfo(&raw, link.js, spec.stream.c_str(), spec.name.c_str(), &options, &code);
  const std::unique_ptr<jsConsumerInfo, FreeInfo> info(raw);
  if (status != NATS_OK) return NatsFailure("consumer " + spec.name, status, code);
  return {};
}

// One that is there already goes on from where it stands.
Result<void> Create(NatsLink& link, const ConsumerSpec& spec) {
  const auto found = Look(link, spec);
  if (found || found.error().code != ErrorCode::kNotFound) return found;
  jsConsumerConfig config;
  jsConsumerConfig_Init(&config);
  config.Durable = spec.name.c_str();
  config.AckPolicy = js_AckExplicit;
  config.AckWait = kAckWaitNs;
  config.MaxAckPending = kAckPendingMax;
  config.DeliverPolicy = js_DeliverByStartSequence;
  config.OptStartSeq = std::max<uint64_t>(1, spec.start_seq);
  jsOptions options = Waiting();
  auto code = static_cast<jsErrCode>(0);
  const natsStatus status =
      js_AddConsumer(nullptr, link.js, spec.stream.c_str(), &config, &options, &code);
  if (status != NATS_OK) return NatsFailure("create consumer " + spec.name, status, code);
  return {};
}

class NatsConsumer final : public Bus::Consumer {
 public:
  NatsConsumer(std::weak_ptr<NatsBus::Rep> rep, ConsumerSpec spec)
      : rep_(std::move(rep)), spec_(std::move(spec)) {}
  ~NatsConsumer() override { Drop(); }

  Result<std::vector<BusMessage>> Fetch(int max, int timeout_ms) override {
    const std::lock_guard lock(mutex_);
    natsMsgList_Destroy(&batch_);
    batch_ = {};
    SW_CHECK(Bind());
    natsMsgList list{};
    auto code = static_cast<jsErrCode>(0);
    const natsStatus status =
        natsSubscription_Fetch(&list, subscription_.get(), max, timeout_ms, &code);
    if (status == NATS_TIMEOUT) return Idle();
    if (status != NATS_OK) {
      const auto failure = Look(*link_, spec_);
      Drop();
      if (!failure) return std::unexpected(failure.error());
      return NatsFailure("fetch " + spec_.name, status, code);
    }
    batch_ = list;
    return Copy();
  }

  Result<void> AckAll() override {
    const std::lock_guard lock(mutex_);
    if (batch_.Count == 0) return {};
    for (int i = 0; i < batch_.Count; ++i) {
      const natsStatus status = natsMsg_Ack(batch_.Msgs[i], nullptr);
      if (status != NATS_OK) return NatsFailure("acknowledge", status, 0);
    }
    // An acknowledgement is a publish: only the flush tells that the server has them.
    const natsStatus status = natsConnection_FlushTimeout(link_->connection, kFlushTimeoutMs);
    if (status != NATS_OK) return NatsFailure("acknowledge", status, 0);
    natsMsgList_Destroy(&batch_);
    batch_ = {};
    return {};
  }

 private:
  static constexpr int64_t kLookEveryNs = 2'000'000'000;

  void Drop() {
    natsMsgList_Destroy(&batch_);
    batch_ = {};
    subscription_.reset();
    link_.reset();
  }

  // Subscribes on the connection of the moment; the supervisor may have built another one.
  Result<void> Bind() {
    const auto rep = rep_.lock();
    if (rep == nullptr) return Fail(ErrorCode::kCancelled, "the bus was closed");
    SW_TRY(auto up, rep->Link());
    if (subscription_ != nullptr && up == link_) return {};
    Drop();
    jsOptions options = Waiting();
    jsSubOptions bind;
    jsSubOptions_Init(&bind);
    bind.Stream = spec_.stream.c_str();
    bind.Consumer = spec_.name.c_str();
    auto code = static_cast<jsErrCode>(0);
    natsSubscription* raw = nullptr;
    const natsStatus status =
        js_PullSubscribe(&raw, up->js, "", spec_.name.c_str(), &options, &bind, &code);
    if (status != NATS_OK) return NatsFailure("consumer " + spec_.name, status, code);
    subscription_.reset(raw);
    link_ = std::move(up);
    return {};
  }

  // Nothing came: a deleted consumer looks like a quiet one, so look now and then.
  Result<std::vector<BusMessage>> Idle() {
    const int64_t now_ns = SteadyNs();
    if (now_ns - looked_ns_ < kLookEveryNs) return std::vector<BusMessage>{};
    looked_ns_ = now_ns;
    const auto there = Look(*link_, spec_);
    if (there) return std::vector<BusMessage>{};
    Drop();
    return std::unexpected(there.error());
  }

  Result<std::vector<BusMessage>> Copy() {
    std::vector<BusMessage> messages;
    messages.reserve(static_cast<size_t>(batch_.Count));
    for (int i = 0; i < batch_.Count; ++i) {
      natsMsg* const message = batch_.Msgs[i];
      jsMsgMetaData* raw = nullptr;
      const natsStatus status = natsMsg_GetMetaData(&raw, message);
      const std::unique_ptr<jsMsgMetaData, FreeMetadata> metadata(raw);
      if (status != NATS_OK) return NatsFailure("message metadata", status, 0);
      BusMessage& copy = messages.emplace_back();
      copy.subject = natsMsg_GetSubject(message);
      copy.payload.assign(natsMsg_GetData(message),
                          static_cast<size_t>(natsMsg_GetDataLength(message)));
      copy.stream_seq = metadata->Sequence.Stream;
    }
    return messages;
  }

  std::weak_ptr<NatsBus::Rep> rep_;
  const ConsumerSpec spec_;
  std::mutex mutex_;
  int64_t looked_ns_ = 0;
  natsMsgList batch_{};
  std::shared_ptr<NatsLink> link_;  // shared with the bus: outlives the subscription on it
  std::unique_ptr<natsSubscription, FreeSubscription> subscription_;
};

}  // namespace

Result<std::unique_ptr<Bus::Consumer>> NatsBus::Consume(const ConsumerSpec& spec) {
  SW_TRY(const auto up, rep_->Link());
  SW_CHECK(Create(*up, spec));
  return std::make_unique<NatsConsumer>(rep_, spec);
}

}  // namespace spillway
