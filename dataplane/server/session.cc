#include "dataplane/server/session.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "common/ids.h"
#include "common/log.h"
#include "dataplane/exchange/counter.h"
#include "dataplane/pipeline/pipeline.h"

namespace spillway {
namespace {

constexpr int64_t kOverloadRetryMs = 1'000;

// A client's own id is taken over only when it can do no harm in headers and logs.
bool IsSaneRequestId(std::string_view id) {
  return !id.empty() && id.size() <= 128 && std::ranges::all_of(id, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-_.:/+=@").contains(c);
  });
}

void Enlist(LoopState& loop, Connection& connection) {
  connection.next = loop.connections;
  if (connection.next != nullptr) connection.next->previous = &connection;
  loop.connections = &connection;
}

void Delist(LoopState& loop, Connection& connection) {
  if (connection.next != nullptr) connection.next->previous = connection.previous;
  (connection.previous != nullptr ? connection.previous->next : loop.connections) = connection.next;
  connection.previous = connection.next = nullptr;
}

}  // namespace

Session::Session(LoopState& loop, Connection& connection, bool refuse_all)
    : loop_(loop),
      connection_(connection),
      refuse_all_(refuse_all),
      parser_(loop.limits.head),
      body_(connection, loop.limits),
      answer_(loop, connection, body_) {}

Task<void> Session::Run(LoopState& loop, std::shared_ptr<Connection> connection, bool refuse_all) {
  Enlist(loop, *connection);
  Bump(loop.counters.connections);
  Bump(loop.counters.connections_total);
  try {
    Session session(loop, *connection, refuse_all);
    co_await session.Live();
  } catch (const std::exception& exception) {
    log::Fault("a session ended by an exception", {{"reason", exception.what()}});
  }
  connection->Close();
  Delist(loop, *connection);
  Bump(loop.counters.connections, -1);
  if (loop.on_session_end) loop.on_session_end();
}

Task<void> Session::Live() {
  if (connection_.transport().tls() && !co_await Handshake()) {
    Bump(loop_.counters.handshake_failures);
    co_return;
  }
  connection_.Arm(loop_.limits.header_ms);
  while (true) {
    const HeadEnd head_end = co_await ReadHead();
    if (head_end == HeadEnd::kGone) co_return;
    if (!co_await Serve(head_end)) co_return;
    connection_.Arm(loop_.limits.idle_ms);
  }
}

Task<bool> Session::Handshake() {
  connection_.Arm(loop_.limits.handshake_ms);
  while (true) {
    const Transport::Outcome outcome = connection_.transport().TryHandshake();
    if (outcome.io == Transport::Io::kOk) co_return true;
    if (outcome.io == Transport::Io::kWantWrite) {
      if (const auto [error] = co_await connection_.transport().WaitWritable(); error)
        co_return false;
    } else if (outcome.io == Transport::Io::kWantRead) {
      if (co_await connection_.WaitReadable() != Connection::ReadEnd::kOk) co_return false;
    } else {
      co_return false;
    }
  }
}

// The deadline for the first byte is set by the caller; the head's own runs from that byte on.
Task<Session::HeadEnd> Session::ReadHead() {
  parser_.Reset();
  Inbox& inbox = connection_.inbox();
  if (inbox.empty() && !connection_.transport().HasDecrypted()) {
    connection_.idle = true;
    if (loop_.draining) connection_.Arm(loop_.limits.idle_draining_ms);
    const auto [error] = co_await connection_.transport().WaitReadable();
    connection_.idle = false;
    if (error || connection_.killed()) co_return HeadEnd::kGone;
  }
  bool armed = false;
  while (true) {
    if (!inbox.empty()) {
      const HeadParser::State state = parser_.Feed(inbox.view());
      if (state == HeadParser::State::kDone) co_return HeadEnd::kComplete;
      if (state == HeadParser::State::kBad) co_return HeadEnd::kBad;
    }
    Connection::ReadEnd end = connection_.TryReadInbox();
    if (end == Connection::ReadEnd::kAgain) {
      if (!std::exchange(armed, true)) connection_.Arm(loop_.limits.header_ms);
      end = co_await connection_.WaitReadable();
    }
    if (end == Connection::ReadEnd::kTimedOut && !inbox.empty()) co_return HeadEnd::kTimedOut;
    if (end != Connection::ReadEnd::kOk) co_return HeadEnd::kGone;
  }
}

void Session::TakeHead(HeadEnd head_end) {
  Inbox& inbox = connection_.inbox();
  const size_t bytes = head_end == HeadEnd::kComplete ? parser_.head_bytes() : inbox.view().size();
  head_text_.assign(inbox.view().substr(0, bytes));
  parser_.MoveTo(head_text_);
  inbox.Consume(bytes);
}

std::optional<Error> Session::Refusal(HeadEnd head_end) const {
  if (head_end == HeadEnd::kTimedOut) {
    return Error{.code = ErrorCode::kRequestTimeout,
                 .message = "the request head did not arrive in time"};
  }
  if (head_end == HeadEnd::kBad) return parser_.error();
  if (refuse_all_ || loop_.shedding.load(std::memory_order_relaxed)) {
    return Error{.code = ErrorCode::kOverloaded,
                 .message = "the gateway is at its limits; try again",
                 .retry_after_ms = kOverloadRetryMs};
  }
  if (parser_.head().content_length.value_or(0) > loop_.limits.body_bytes_max) {
    return Error{.code = ErrorCode::kBodyTooLarge,
                 .message = "the request body is larger than " +
                            std::to_string(loop_.limits.body_bytes_max) + " bytes"};
  }
  return std::nullopt;
}

std::string Session::RequestId() const {
  const std::string_view theirs = parser_.head().Find("x-request-id");
  return IsSaneRequestId(theirs) ? std::string(theirs) : FastId();
}

Task<bool> Session::Serve(HeadEnd head_end) {
  connection_.Disarm();
  TakeHead(head_end);
  const RequestHead& head = parser_.head();
  body_.Begin(head);
  std::optional<Error> refusal = Refusal(head_end);
  const bool refused = refusal.has_value();
  answer_.Reset(head, refused);
  {
    Exchange x{.loop = loop_.loop,
               .head = head,
               .body = body_,
               .request_id = RequestId(),
               .accepted_ns = loop_.loop.clock->MonotonicNs()};
    if (refusal) {
      if (refusal->code == ErrorCode::kOverloaded) Bump(loop_.counters.shed_total);
      co_await loop_.pipeline->Refuse(x, answer_, *std::move(refusal));
    } else {
      try {
        co_await loop_.pipeline->Handle(x, answer_);
      } catch (...) {
        // The rest never comes, and the close that follows would look like the end.
        if (answer_.needs_reset()) connection_.transport().ResetOnClose();
        throw;
      }
    }
  }
  connection_.Watch(nullptr);
  body_.Release();
  // Unread input would turn the close into a reset.
  const bool unread = refused || !body_.Skippable() || !connection_.inbox().empty();
  if (answer_.complete() && answer_.closing() && unread) {
    co_await connection_.Linger();
  }
  co_return co_await Finish();
}

Task<bool> Session::Finish() {
  if (answer_.needs_reset()) connection_.transport().ResetOnClose();
  if (!answer_.complete() || answer_.closing() || connection_.killed()) {
    if (answer_.complete()) connection_.transport().ShutdownSend();
    co_return false;
  }
  co_return co_await body_.SkipRest();
}

}  // namespace spillway
