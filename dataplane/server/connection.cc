#include "dataplane/server/connection.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

namespace spillway {
namespace {

// A waiting connection with less than this gives its lent buffer back.
constexpr size_t kShrinkBelowBytes = size_t{4} * 1024;
constexpr int64_t kLingerMs = 2'000;
constexpr size_t kLingerBytes = size_t{256} * 1024;

}  // namespace

Connection::Connection(Loop& loop, Transport transport)
    : loop_(loop),
      transport_(std::move(transport)),
      inbox_(loop.buffers),
      deadline_(*loop.timers, [this] { OnDue(); }) {}

void Connection::OnDue() {
  if (rate_bytes_min_ > 0 && received_in_window_ >= rate_bytes_min_) {
    received_in_window_ = 0;
    deadline_.SetAfterMs(rate_window_ms_);
    return;
  }
  timed_out_ = true;
  transport_.CancelWaits();
}

void Connection::Arm(int64_t ms) {
  timed_out_ = false;
  rate_bytes_min_ = 0;
  deadline_.SetAfterMs(ms);
}

void Connection::ArmRate(int64_t ms, int64_t bytes_min) {
  Arm(ms);
  rate_window_ms_ = ms;
  rate_bytes_min_ = bytes_min;
  received_in_window_ = 0;
}

Connection::ReadEnd Connection::TryReadInbox(size_t total) {
  const Transport::Outcome outcome = transport_.TryRead(inbox_.Space(total));
  switch (outcome.io) {
    case Transport::Io::kOk:
      inbox_.Commit(outcome.bytes);
      received_in_window_ += static_cast<int64_t>(outcome.bytes);
      return ReadEnd::kOk;
    case Transport::Io::kWantRead:
    case Transport::Io::kWantWrite:
      if (inbox_.view().size() < kShrinkBelowBytes) inbox_.Shrink();
      return ReadEnd::kAgain;
    default:
      return ReadEnd::kClosed;
  }
}

Task<bool> Connection::WaitFor(Transport::Io wanted) {
  if (wanted == Transport::Io::kWantWrite) {
    const auto [error] = co_await transport_.WaitWritable();
    co_return !error && !killed_;
  }
  const auto [error] = co_await transport_.WaitReadable();
  co_return !error && !killed_;
}

Task<Connection::ReadEnd> Connection::WaitReadable() {
  const auto [error] = co_await transport_.WaitReadable();
  if (!error && !killed_) co_return ReadEnd::kOk;
  co_return timed_out_ ? ReadEnd::kTimedOut : ReadEnd::kClosed;
}

Task<Connection::ReadEnd> Connection::ReadInbox(size_t total) {
  while (true) {
    if (const ReadEnd end = TryReadInbox(total); end != ReadEnd::kAgain) co_return end;
    if (const ReadEnd end = co_await WaitReadable(); end != ReadEnd::kOk) co_return end;
  }
}

Task<Connection::ReadEnd> Connection::ReadTo(std::span<char> space, size_t& bytes) {
  while (true) {
    const Transport::Outcome outcome = transport_.TryRead(space);
    if (outcome.io == Transport::Io::kOk) {
      bytes = outcome.bytes;
      received_in_window_ += static_cast<int64_t>(outcome.bytes);
      co_return ReadEnd::kOk;
    }
    if (outcome.io == Transport::Io::kClosed || outcome.io == Transport::Io::kFailed) {
      co_return ReadEnd::kClosed;
    }
    if (!co_await WaitFor(outcome.io)) co_return timed_out_ ? ReadEnd::kTimedOut : ReadEnd::kClosed;
  }
}

Connection::WriteEnd Connection::TryWrite(std::span<iovec>& pieces) {
  while (!pieces.empty()) {
    if (killed_) return WriteEnd::kFailed;
    const Transport::Outcome outcome = transport_.TryWrite(pieces);
    if (outcome.io == Transport::Io::kWantWrite || outcome.io == Transport::Io::kWantRead) {
      return WriteEnd::kBlocked;
    }
    if (outcome.io != Transport::Io::kOk) return WriteEnd::kFailed;
    size_t written = outcome.bytes;
    while (!pieces.empty() && written >= pieces.front().iov_len) {
      written -= pieces.front().iov_len;
      pieces = pieces.subspan(1);
    }
    if (!pieces.empty()) {
      pieces.front().iov_base = static_cast<char*>(pieces.front().iov_base) + written;
      pieces.front().iov_len -= written;
    }
  }
  return WriteEnd::kDone;
}

Task<Result<void>> Connection::WriteRest(std::span<iovec> pieces, int64_t stall_ms) {
  while (true) {
    const WriteEnd end = TryWrite(pieces);
    if (end == WriteEnd::kDone) break;
    bool writable = false;
    if (end == WriteEnd::kBlocked) {
      Arm(stall_ms);
      writable = co_await WaitFor(Transport::Io::kWantWrite);
    }
    if (!writable) {
      Disarm();
      co_return Fail(ErrorCode::kCancelled, timed_out_ ? "the client stopped reading"
                                                       : "the client closed the connection");
    }
  }
  Disarm();
  co_return Result<void>{};
}

void Connection::Watch(std::function<void()> gone) {
  gone_ = std::move(gone);
  if (!gone_ || watching_) return;
  if (!killed_) return StartWatch();
  // Never from inside this call: the caller has not started yet what `gone` shall end.
  boost::asio::post(loop_.io, [self = shared_from_this()] { self->OnWatched(true); });
}

void Connection::StartWatch() {
  watching_ = true;
  transport_.socket().async_wait(TcpSocket::wait_read,
                                 [self = shared_from_this()](boost::system::error_code error) {
                                   self->watching_ = false;
                                   self->OnWatched(static_cast<bool>(error));
                                 });
}

void Connection::OnWatched(bool cancelled) {
  if (!gone_) return;
  const Transport::Peer peer =
      cancelled || killed_ ? Transport::Peer::kGone : transport_.PeekPeer();
  // A client that sends its next request early is there; whether it leaves shows when we write.
  if (peer == Transport::Peer::kTalking) return;
  if (peer == Transport::Peer::kSilent) return StartWatch();
  std::exchange(gone_, nullptr)();
}

Task<void> Connection::Linger() {
  transport_.ShutdownSend();
  inbox_.Clear();
  Arm(kLingerMs);
  for (size_t dropped = 0; dropped < kLingerBytes;) {
    if (co_await ReadInbox() != ReadEnd::kOk) break;
    dropped += inbox_.view().size();
    inbox_.Clear();
  }
  Disarm();
}

void Connection::Close() {
  gone_ = nullptr;
  deadline_.Clear();
  inbox_.Clear();
  transport_.Close();
}

void Connection::Kill() {
  killed_ = true;
  transport_.CancelWaits();
  if (gone_) std::exchange(gone_, nullptr)();
}

}  // namespace spillway
