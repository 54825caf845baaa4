#include <algorithm>
#include <chrono>
#include <iterator>
#include <ranges>
#include <utility>

#include "tests/fakes/memory_bus.h"
#include "tests/fakes/memory_bus_server.h"

namespace spillway {
namespace {

std::unexpected<Error> NoStream(std::string_view name) {
  return Fail(ErrorCode::kNotFound, "stream " + std::string(name) + " does not exist");
}

// Fetches what was delivered and not acknowledged again, then what is new.
class MemoryPull final : public Bus::Consumer {
 public:
  MemoryPull(std::shared_ptr<MemoryBus::Server> server,
             std::shared_ptr<MemoryBus::Connection> connection, ConsumerSpec spec)
      : server_(std::move(server)), connection_(std::move(connection)), spec_(std::move(spec)) {}

  Result<std::vector<BusMessage>> Fetch(int max, int timeout_ms) override {
    std::unique_lock lock(server_->mutex);
    std::vector<BusMessage> messages;
    Result<void> outcome;
    const auto ready = [&] {
      outcome = Take(max, messages);
      return !outcome || !messages.empty();
    };
    server_->stored.wait_for(lock, std::chrono::milliseconds(timeout_ms), ready);
    if (!outcome) return std::unexpected(outcome.error());
    last_.clear();
    for (const BusMessage& message : messages) last_.push_back(message.stream_seq);
    if (server_->twice) {
      const std::vector<BusMessage> again = messages;
      messages.insert(messages.end(), again.begin(), again.end());
    }
    return messages;
  }

  Result<void> AckAll() override {
    const std::lock_guard lock(server_->mutex);
    if (!connection_->connected) return Away();
    MemoryStream* stream = server_->Named(spec_.stream);
    if (stream == nullptr) return NoStream(spec_.stream);
    const auto found = stream->consumers.find(spec_.name);
    if (found == stream->consumers.end()) return Gone();
    for (const uint64_t seq : last_) found->second.unacked.erase(seq);
    return {};
  }

 private:
  std::unexpected<Error> Gone() const {
    return Fail(ErrorCode::kNotFound, "consumer " + spec_.name + " does not exist");
  }

  Result<void> Take(int max, std::vector<BusMessage>& messages) {
    messages.clear();
    if (!connection_->connected) return Away();
    MemoryStream* stream = server_->Named(spec_.stream);
    if (stream == nullptr) return NoStream(spec_.stream);
    const auto found = stream->consumers.find(spec_.name);
    if (found == stream->consumers.end()) return Gone();
    MemoryConsumer& consumer = found->second;
    for (const uint64_t seq : consumer.unacked) {
      if (static_cast<int>(messages.size()) == max) return {};
      const auto at = stream->messages.find(seq);
      if (at != stream->messages.end()) messages.push_back(at->second);
    }
    auto at = stream->messages.lower_bound(consumer.next_seq);
    for (; at != stream->messages.end() && static_cast<int>(messages.size()) < max; ++at) {
      messages.push_back(at->second);
      consumer.unacked.insert(at->first);
      consumer.next_seq = at->first + 1;
    }
    return {};
  }

  std::shared_ptr<MemoryBus::Server> server_;
  std::shared_ptr<MemoryBus::Connection> connection_;
  ConsumerSpec spec_;
  std::vector<uint64_t> last_;
};

}  // namespace

void MemoryStream::Erase(std::map<uint64_t, BusMessage>::iterator at) {
  bytes -= at->second.payload.size();
  messages.erase(at);
}

uint64_t MemoryStream::LastSeqOf(std::string_view subject) const {
  for (const auto& [seq, message] : std::views::reverse(messages)) {
    if (message.subject == subject) return seq;
  }
  return 0;
}

void MemoryStream::TrimSubject(std::string_view subject) {
  if (spec.messages_per_subject_max < 0) return;
  int64_t kept = 0;
  for (auto at = messages.end(); at != messages.begin();) {
    --at;
    if (at->second.subject != subject || ++kept <= spec.messages_per_subject_max) continue;
    const auto doomed = at;
    ++at;
    Erase(doomed);
  }
}

Result<uint64_t> MemoryStream::Store(std::string_view subject, std::string_view payload,
                                     const Bus::PublishOptions& options) {
  if (!options.message_id.empty()) {
    const auto known = message_ids.find(options.message_id);
    if (known != message_ids.end()) return known->second;
  }
  if (options.expect_last_subject_seq && LastSeqOf(subject) != *options.expect_last_subject_seq) {
    return Fail(ErrorCode::kConflict, "wrong last sequence on " + std::string(subject));
  }
  const bool full =
      spec.bytes_max >= 0 && bytes + payload.size() > static_cast<uint64_t>(spec.bytes_max);
  if (full && spec.discard_new) {
    return Fail(ErrorCode::kUnavailable, "stream " + spec.name + " is full");
  }
  const uint64_t seq = ++last_seq;
  messages[seq] = BusMessage{std::string(subject), std::string(payload), seq};
  bytes += payload.size();
  if (!options.message_id.empty()) message_ids[options.message_id] = seq;
  TrimSubject(subject);
  while (full && messages.size() > 1 && bytes > static_cast<uint64_t>(spec.bytes_max)) {
    Erase(messages.begin());
  }
  return seq;
}

void MemoryBus::WipeStream(std::string_view stream) {
  const std::lock_guard lock(server_->mutex);
  const auto found = server_->streams.find(stream);
  if (found != server_->streams.end()) server_->streams.erase(found);
}

void MemoryBus::WipeServer() {
  const std::lock_guard lock(server_->mutex);
  server_->streams.clear();
}

void MemoryBus::DropMessages(std::string_view stream, uint64_t from_seq, uint64_t to_seq) {
  const std::lock_guard lock(server_->mutex);
  MemoryStream* data = server_->Named(stream);
  if (data == nullptr) return;
  for (auto at = data->messages.lower_bound(from_seq);
       at != data->messages.end() && at->first <= to_seq;) {
    data->Erase(at++);
  }
}

std::vector<BusMessage> MemoryBus::Messages(std::string_view stream) const {
  const std::lock_guard lock(server_->mutex);
  std::vector<BusMessage> messages;
  if (const MemoryStream* data = server_->Named(stream); data != nullptr) {
    for (const auto& [seq, message] : data->messages) messages.push_back(message);
  }
  return messages;
}

bool MemoryBus::HasStream(std::string_view stream) const {
  const std::lock_guard lock(server_->mutex);
  return server_->Named(stream) != nullptr;
}

Result<uint64_t> MemoryBus::PublishToStream(std::string_view subject, std::string_view payload,
                                            const PublishOptions& options) {
  Result<uint64_t> seq = 0;
  bool ack_lost = false;
  {
    std::unique_lock lock(server_->mutex);
    if (!connection_->connected) return Away();
    if (const auto intercept = connection_->intercept; intercept) {
      lock.unlock();
      SW_CHECK(intercept(subject));
      lock.lock();
    }
    const bool cut = connection_->publishes_before_failure == 0;
    if (connection_->publishes_before_failure > 0) --connection_->publishes_before_failure;
    if (connection_->publishes_to_fail > 0 || cut) {
      if (!cut) --connection_->publishes_to_fail;
      return Fail(ErrorCode::kUnavailable, "publish failed (injected)");
    }
    MemoryStream* stream = server_->StreamFor(subject);
    if (stream == nullptr) {
      return Fail(ErrorCode::kUnavailable, "no stream takes " + std::string(subject));
    }
    seq = stream->Store(subject, payload, options);
    if (connection_->acks_to_drop > 0) {
      --connection_->acks_to_drop;
      ack_lost = true;
    }
    server_->stored.notify_all();
  }
  if (seq) server_->Deliver(BusMessage{std::string(subject), std::string(payload)});
  if (ack_lost) return Fail(ErrorCode::kUnavailable, "no acknowledgement in time (injected)");
  return seq;
}

Result<void> MemoryBus::PublishToStreamAsync(std::string_view subject, std::string_view payload,
                                             const PublishOptions& options, OnAck on_ack) {
  if (state() != BusState::kConnected) return Away();
  Result<uint64_t> result = PublishToStream(subject, payload, options);
  {
    const std::lock_guard lock(server_->mutex);
    if (connection_->hold_acks) {
      connection_->held.emplace_back(std::move(on_ack), std::move(result));
      return {};
    }
  }
  on_ack(std::move(result));
  return {};
}

Result<std::optional<BusMessage>> MemoryBus::GetLast(std::string_view stream,
                                                     std::string_view subject, int /*timeout_ms*/) {
  const std::lock_guard lock(server_->mutex);
  if (!connection_->connected) return Away();
  const MemoryStream* data = server_->Named(stream);
  if (data == nullptr) return NoStream(stream);
  for (const auto& [seq, message] : std::views::reverse(data->messages)) {
    if (message.subject == subject) return message;
  }
  return std::nullopt;
}

Result<void> MemoryBus::EnsureStream(const StreamSpec& spec) {
  const std::lock_guard lock(server_->mutex);
  if (!connection_->connected) return Away();
  auto [at, fresh] = server_->streams.try_emplace(spec.name);
  if (fresh) at->second.created_ns = 1'000'000 + ++server_->streams_created;
  at->second.spec = spec;
  return {};
}

Result<StreamState> MemoryBus::GetStreamState(std::string_view stream) {
  const std::lock_guard lock(server_->mutex);
  if (!connection_->connected) return Away();
  const MemoryStream* data = server_->Named(stream);
  if (data == nullptr) return NoStream(stream);
  StreamState state{.created_ns = data->created_ns, .last_seq = data->last_seq};
  state.messages = data->messages.size();
  state.bytes = data->bytes;
  state.first_seq = data->messages.empty() ? data->last_seq + 1 : data->messages.begin()->first;
  return state;
}

Result<void> MemoryBus::Purge(std::string_view stream, uint64_t below_seq,
                              std::string_view subject) {
  const std::lock_guard lock(server_->mutex);
  if (!connection_->connected) return Away();
  MemoryStream* data = server_->Named(stream);
  if (data == nullptr) return NoStream(stream);
  for (auto at = data->messages.begin(); at != data->messages.end() && at->first < below_seq;) {
    const auto candidate = at++;
    if (subject.empty() || SubjectMatches(subject, candidate->second.subject)) {
      data->Erase(candidate);
    }
  }
  return {};
}

Result<std::unique_ptr<Bus::Consumer>> MemoryBus::Consume(const ConsumerSpec& spec) {
  const std::lock_guard lock(server_->mutex);
  if (!connection_->connected) return Away();
  MemoryStream* stream = server_->Named(spec.stream);
  if (stream == nullptr) return NoStream(spec.stream);
  stream->consumers.try_emplace(spec.name, MemoryConsumer{.next_seq = spec.start_seq});
  return std::make_unique<MemoryPull>(server_, connection_, spec);
}

Result<void> MemoryBus::DeleteConsumer(std::string_view stream, std::string_view name) {
  const std::lock_guard lock(server_->mutex);
  if (!connection_->connected) return Away();
  MemoryStream* data = server_->Named(stream);
  if (data == nullptr) return NoStream(stream);
  if (const auto found = data->consumers.find(name); found != data->consumers.end()) {
    data->consumers.erase(found);
  }
  return {};
}

}  // namespace spillway
