#include <nats/nats.h>

#include <algorithm>
#include <charconv>
#include <future>
#include <utility>

#include "common/nats_bus_calls.h"
#include "common/nats_bus_rep.h"

namespace spillway {
namespace {

// JetStream's codes: the expected last sequence was not the last one.
constexpr int kWrongLastSequence = 10071;
constexpr int kWrongLastSequenceConstant = 10164;
constexpr int kConsumerNotFound = 10014;
constexpr int kStreamNotFound = 10059;

using MessageHandle = std::unique_ptr<natsMsg, FreeMessage>;

// The number behind `"name":` in a small JSON object of the server; nullopt: not there.
std::optional<uint64_t> NumberIn(std::string_view json, std::string_view name) {
  const size_t at = json.find(name);
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view rest = json.substr(at + name.size());
  rest.remove_prefix(std::min(rest.find_first_not_of(" :"), rest.size()));
  uint64_t number = 0;
  const auto parsed = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  if (parsed.ec != std::errc{}) return std::nullopt;
  return number;
}

}  // namespace

ErrorCode CodeOf(int status, int js_code) {
  if (js_code == kWrongLastSequence || js_code == kWrongLastSequenceConstant) {
    return ErrorCode::kConflict;
  }
  if (js_code == kStreamNotFound || js_code == kConsumerNotFound) return ErrorCode::kNotFound;
  if (status == NATS_NOT_FOUND) return ErrorCode::kNotFound;
  return ErrorCode::kUnavailable;
}

std::unexpected<Error> NatsFailure(std::string_view what, int status, int js_code) {
  std::string message =
      std::string(what) + ": " + natsStatus_GetText(static_cast<natsStatus>(status));
  if (js_code != 0) message += " (JetStream " + std::to_string(js_code) + ")";
  return Fail(CodeOf(status, js_code), std::move(message));
}

Result<uint64_t> ParseAck(std::string_view json) {
  if (json.empty()) return Fail(ErrorCode::kUnavailable, "no stream takes this subject");
  if (const auto code = NumberIn(json, "\"err_code\"")) {
    return Fail(CodeOf(NATS_ERR, static_cast<int>(*code)),
                "the stream refused the message (JetStream " + std::to_string(*code) + ")");
  }
  if (json.find("\"error\"") == std::string_view::npos) {
    if (const auto seq = NumberIn(json, "\"seq\"")) return *seq;
  }
  return Fail(ErrorCode::kUnavailable, "the stream's answer cannot be read");
}

uint64_t NatsBus::Rep::Expect(OnAck on_ack, int timeout_ms) {
  const uint64_t token = ++last_token;
  const int64_t deadline_ns = SteadyNs() + int64_t{timeout_ms} * 1'000'000;
  const bool earliest = deadlines.empty() || deadline_ns < deadlines.begin()->first;
  pending[token] = {.on_ack = std::move(on_ack), .deadline_ns = deadline_ns};
  deadlines.emplace(deadline_ns, token);
  if (earliest) wake.notify_all();
  return token;
}

void NatsBus::Rep::Settle(uint64_t token, Result<uint64_t> result) {
  OnAck on_ack;
  {
    const std::lock_guard lock(mutex);
    const auto found = pending.find(token);
    if (found == pending.end()) return;
    deadlines.erase({found->second.deadline_ns, token});
    on_ack = std::move(found->second.on_ack);
    pending.erase(found);
    ++settling;
  }
  on_ack(std::move(result));
  on_ack = nullptr;  // what it captured goes before anybody may rely on its end
  const std::lock_guard lock(mutex);
  if (--settling == 0) settled.notify_all();
}

void NatsBus::Rep::FailPending(const Error& error) {
  std::vector<uint64_t> tokens;
  {
    const std::lock_guard lock(mutex);
    for (const auto& [token, waiting] : pending) tokens.push_back(token);
    outgoing.clear();
    outgoing_bytes = 0;
  }
  for (const uint64_t token : tokens) Settle(token, std::unexpected(error));
}

void NatsBus::Rep::ExpireDue() {
  std::vector<uint64_t> due;
  {
    const std::lock_guard lock(mutex);
    const int64_t now_ns = SteadyNs();
    for (const auto& [deadline_ns, token] : deadlines) {
      if (deadline_ns > now_ns) break;
      due.push_back(token);
    }
  }
  for (const uint64_t token : due) {
    Settle(token, Fail(ErrorCode::kUnavailable, "no acknowledgement in time"));
  }
}

void NatsBus::Rep::HearAck(const BusMessage& ack) {
  uint64_t token = 0;
  const std::string_view tail = std::string_view(ack.subject).substr(ack_prefix.size());
  const auto parsed = std::from_chars(tail.data(), tail.data() + tail.size(), token);
  if (parsed.ec == std::errc{}) Settle(token, ParseAck(ack.payload));
}

Result<void> NatsBus::Rep::SendNow(const std::string& subject, std::string_view payload,
                                   const PublishOptions& publish, uint64_t token) {
  SW_TRY(const auto up, Link());
  natsMsg* raw = nullptr;
  const std::string reply = ack_prefix + std::to_string(token);
  natsStatus status = natsMsg_Create(&raw, subject.c_str(), reply.c_str(), payload.data(),
                                     static_cast<int>(payload.size()));
  const MessageHandle message(raw);
  if (status == NATS_OK && !publish.message_id.empty()) {
    status = natsMsgHeader_Set(raw, "Nats-Msg-Id", publish.message_id.c_str());
  }
  if (status == NATS_OK && publish.expect_last_subject_seq) {
    status = natsMsgHeader_Set(raw, "Nats-Expected-Last-Subject-Sequence",
                               std::to_string(*publish.expect_last_subject_seq).c_str());
  }
  if (status == NATS_OK) status = natsConnection_PublishMsg(up->connection, raw);
  if (status != NATS_OK) return NatsFailure("publish " + subject, status, 0);
  return {};
}

// The sender's thread: the library may block on a full socket, callers of the asynchronous publish
// must not.
void NatsBus::Rep::Send() {
  std::unique_lock lock(mutex);
  while (true) {
    to_send.wait(lock, [this] { return closing || !outgoing.empty(); });
    if (closing) return;
    const Outgoing next = std::move(outgoing.front());
    outgoing.pop_front();
    outgoing_bytes -= next.payload.size();
    lock.unlock();
    if (const auto sent = SendNow(next.subject, next.payload, next.options, next.token); !sent) {
      Settle(next.token, std::unexpected(sent.error()));
    }
    lock.lock();
  }
}

Result<uint64_t> NatsBus::PublishToStream(std::string_view subject, std::string_view payload,
                                          const PublishOptions& options) {
  SW_CHECK(rep_->Link());
  // Shared with the acknowledgement, which may come from another thread after this one gave up.
  const auto answer = std::make_shared<std::promise<Result<uint64_t>>>();
  auto heard = answer->get_future();
  uint64_t token = 0;
  {
    const std::lock_guard lock(rep_->mutex);
    if (rep_->closing) return Fail(ErrorCode::kCancelled, "the bus was closed");
    token =
        rep_->Expect([answer](Result<uint64_t> result) { answer->set_value(std::move(result)); },
                     options.timeout_ms);
  }
  const auto sent = rep_->SendNow(std::string(subject), payload, options, token);
  if (!sent) rep_->Settle(token, std::unexpected(sent.error()));
  return heard.get();
}

Result<void> NatsBus::PublishToStreamAsync(std::string_view subject, std::string_view payload,
                                           const PublishOptions& options, OnAck on_ack) {
  const std::lock_guard lock(rep_->mutex);
  if (rep_->closing || !rep_->connected) {
    return Fail(ErrorCode::kUnavailable, "the bus is not connected");
  }
  if (rep_->async_waiting >= rep_->options.async_messages_max ||
      rep_->outgoing_bytes + payload.size() > rep_->options.async_bytes_max) {
    return Fail(ErrorCode::kUnavailable, "too many publishes wait for the stream's answer");
  }
  ++rep_->async_waiting;
  const auto counted = [rep = std::weak_ptr(rep_),
                        on_ack = std::move(on_ack)](Result<uint64_t> result) {
    if (const auto alive = rep.lock()) {
      const std::lock_guard inner(alive->mutex);
      --alive->async_waiting;
    }
    on_ack(std::move(result));
  };
  const uint64_t token = rep_->Expect(counted, options.timeout_ms);
  rep_->outgoing.push_back({std::string(subject), std::string(payload), options, token});
  rep_->outgoing_bytes += payload.size();
  rep_->to_send.notify_one();
  return {};
}

}  // namespace spillway
