#include "dataplane/upstream/call.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "common/clock.h"

namespace spillway {
namespace {

constexpr int kInterimHeadsMax = 16;
constexpr size_t kWholeBytesFirst = size_t{64} * 1024;
constexpr size_t kWholeBytesTrusted =
    size_t{1024} * 1024;  // of a stated length, before any of it came
constexpr size_t kReadBytesMin = size_t{4} * 1024;

// Moves what a window holds into a larger buffer of its own.
void Enlarge(ReadWindow& window, size_t capacity) {
  auto larger = std::make_unique_for_overwrite<char[]>(capacity + BufferPool::kPaddingBytes);
  const size_t size = window.end - window.begin;
  if (size > 0) std::memcpy(larger.get(), window.data.get() + window.begin, size);
  window.data = std::move(larger);
  window.capacity = capacity;
  window.begin = 0;
  window.end = size;
}

Error TooLarge(size_t bytes_max) {
  return {
      .code = ErrorCode::kUpstreamInvalid,
      .message = "the provider's answer is larger than " + std::to_string(bytes_max) + " bytes"};
}

}  // namespace

// What is still to be sent of a head and a body in pieces, for one writev after the other.
class UpstreamCall::Outgoing {
 public:
  Outgoing(std::string_view head, std::span<const std::string_view> body)
      : head_(head), body_(body) {}

  bool done() const { return next_ > body_.size(); }
  std::span<const iovec> Pieces() {
    size_t count = 0;
    size_t skip = offset_;
    for (size_t i = next_; i <= body_.size() && count < vector_.size(); ++i) {
      const std::string_view piece = Piece(i).substr(skip);
      skip = 0;
      if (!piece.empty()) vector_[count++] = {const_cast<char*>(piece.data()), piece.size()};
    }
    return {vector_.data(), count};
  }
  void Advance(size_t bytes) {
    while (!done() && bytes >= Piece(next_).size() - offset_) {
      bytes -= Piece(next_).size() - offset_;
      offset_ = 0;
      ++next_;
    }
    offset_ += bytes;
  }

 private:
  std::string_view Piece(size_t i) const { return i == 0 ? head_ : body_[i - 1]; }

  std::string_view head_;
  std::span<const std::string_view> body_;
  std::array<iovec, 16> vector_;
  size_t next_ = 0;
  size_t offset_ = 0;
};

UpstreamCall::UpstreamCall(UpstreamPool& pool, const ProviderSpec& provider,
                           const CallTimeouts& timeouts)
    : pool_(pool), loop_(pool.loop()), provider_(provider), timeouts_(timeouts) {}

UpstreamCall::~UpstreamCall() {
  Finish();
  window_.begin = window_.end;
  Return(window_);
}

Task<Result<void>> UpstreamCall::Send(std::string_view head, std::span<const std::string_view> body,
                                      bool fresh) {
  total_due_ns_ = loop_.clock->MonotonicNs() + timeouts_.total_ms * kNsPerMs;
  if (!fresh) connection_ = pool_.TakeIdle(provider_.endpoint_id);
  reused_ = connection_ != nullptr;
  if (!reused_) {
    connection_ = pool_.MakeNew(provider_.endpoint_id);
    if (cancelled_) co_return std::unexpected(Stopped());
    SW_CO_CHECK(co_await pool_.Open(*connection_, provider_, timeouts_.total_ms));
  }
  progress_ = Progress::kSending;
  connection_->BeginRequest();
  connection_->SetTotalDeadline(LeftMs());
  connection_->SetPhaseDeadline(timeouts_.first_token_ms);
  Outgoing outgoing(head, body);
  if (!SendSome(outgoing)) SW_CO_CHECK(co_await SendRest(outgoing, /*heed=*/true));
  co_return co_await ReadHead(outgoing);
}

bool UpstreamCall::SendSome(Outgoing& outgoing) {
  while (!outgoing.done()) {
    const IoStep step = connection_->Write(outgoing.Pieces());
    if (step.kind == IoStep::Kind::kBytes) {
      outgoing.Advance(step.bytes);
      continue;
    }
    broken_ = step.kind == IoStep::Kind::kBroken || step.kind == IoStep::Kind::kEnd;
    // A provider may refuse a large request before it has read it all: its answer counts.
    return broken_;
  }
  sent_all_ = true;
  progress_ = Progress::kSent;
  return true;
}

Task<Result<void>> UpstreamCall::SendRest(Outgoing& outgoing, bool heed) {
  for (;;) {
    if (connection_->interruption() != UpstreamConnection::Interruption::kNone) {
      co_return std::unexpected(Stopped());
    }
    if (heed) {
      if (!connection_->Silent()) co_return Result<void>{};
      co_await connection_->WritableOrReadable();
    } else {
      co_await connection_->Writable();
    }
    if (SendSome(outgoing)) co_return Result<void>{};
  }
}

Task<Result<void>> UpstreamCall::ReadHead(Outgoing& outgoing) {
  UpstreamHead& head = connection_->head;
  read_first_ = !sent_all_;
  size_t scanned = 0;
  for (int interim = 0; interim < kInterimHeadsMax;) {
    HeadStatus status = HeadStatus::kMore;
    if (!window_.empty()) status = ParseResponseHead(window_.bytes(), scanned, head);
    if (status == HeadStatus::kBad) break;
    if (status == HeadStatus::kMore) {
      if (!window_.empty() && window_.room() == 0) Enlarge(window_, kResponseHeadBytesMax);
      SW_CO_CHECK(co_await FillWindow(window_));
      continue;
    }
    window_.begin += head.bytes;
    // Who refuses may never read the rest; who does not waits for it.
    if (head.status < 300 && !sent_all_ && !broken_) {
      SW_CO_CHECK(co_await SendRest(outgoing, /*heed=*/head.status < 200));
    }
    if (head.status >= 200) {
      progress_ = Progress::kAnswered;
      left_ = head.content_length;
      ended_ = head.framing == BodyFraming::kNone;
      surplus_ = ended_ && !window_.empty();
      co_return Result<void>{};
    }
    scanned = 0;
    ++interim;
  }
  co_return Fail(ErrorCode::kUpstreamInvalid, "the provider's answer is no HTTP/1.1");
}

Task<Result<void>> UpstreamCall::FillWindow(ReadWindow& window) {
  if (window.empty()) Return(window);
  if (first_token_seen_) connection_->SetPhaseDeadline(timeouts_.idle_ms);
  IoStep::Kind want = IoStep::Kind::kWantRead;
  // OpenSSL may hold bytes that the socket no longer announces.
  bool wait = !read_first_ && !connection_->tls();
  for (;;) {
    if (wait && want == IoStep::Kind::kWantWrite) {
      co_await connection_->Writable();
    } else if (wait) {
      if (!connection_->WatchReadable()) co_await connection_->Readable();
      connection_->ReadableSeen();
    }
    if (connection_->interruption() != UpstreamConnection::Interruption::kNone) {
      co_return std::unexpected(Stopped());
    }
    Lend(window);
    const IoStep step = connection_->Read(window.data.get() + window.end, window.room());
    if (step.kind == IoStep::Kind::kBytes) {
      read_first_ = step.bytes == window.room();
      window.end += step.bytes;
      if (first_token_seen_) connection_->ClearPhaseDeadline();
      co_return Result<void>{};
    }
    if (step.kind == IoStep::Kind::kEnd || step.kind == IoStep::Kind::kBroken) {
      const bool answered = progress_ == Progress::kAnswered;
      if (answered && step.kind == IoStep::Kind::kEnd &&
          head().framing == BodyFraming::kUntilClose) {
        ended_ = true;
        co_return Result<void>{};
      }
      co_return Fail(ErrorCode::kUpstreamTruncated,
                     answered ? "the provider closed the connection in the middle of its answer"
                              : "the provider closed the connection without an answer");
    }
    if (window.empty()) Return(window);
    want = step.kind;
    wait = true;
  }
}

Result<std::string_view> UpstreamCall::Next() { return Take(window_); }

Result<std::string_view> UpstreamCall::Take(ReadWindow& window) {
  if (ended_ || window.empty()) return std::string_view();
  char* const at = window.data.get() + window.begin;
  const size_t size = window.end - window.begin;
  if (head().framing == BodyFraming::kChunked) {
    ChunkDecoder::Step step;
    if (!chunks_.Decode(at, size, step)) {
      return Fail(ErrorCode::kUpstreamTruncated, "the provider's answer broke its chunked framing");
    }
    window.begin += step.consumed;
    ended_ = chunks_.done();
    surplus_ = !window.empty();
    return step.payload;
  }
  if (head().framing == BodyFraming::kUntilClose) {
    window.begin = window.end;
    return std::string_view(at, size);
  }
  const size_t part = static_cast<size_t>(std::min<int64_t>(left_, static_cast<int64_t>(size)));
  left_ -= static_cast<int64_t>(part);
  window.begin += part;
  ended_ = left_ == 0;
  surplus_ = !window.empty();
  return std::string_view(at, part);
}

Task<Result<std::string_view>> UpstreamCall::Collect(size_t bytes_max) {
  if (head().framing == BodyFraming::kLength && std::cmp_greater(left_, bytes_max)) {
    co_return std::unexpected(TooLarge(bytes_max));
  }
  SW_CO_TRY(std::string_view first, Next());
  const bool fits = head().framing != BodyFraming::kLength ||
                    std::cmp_less_equal(left_, BufferPool::kBufferBytes);
  while (!ended_ && first.empty() && fits) {
    SW_CO_CHECK(co_await FillWindow(window_));
    Result<std::string_view> next = Next();
    if (!next) co_return std::unexpected(std::move(next).error());
    first = *next;
  }
  if (ended_ && first.size() <= bytes_max) co_return first;
  co_return co_await CollectWhole(first, bytes_max);
}

Task<Result<std::string_view>> UpstreamCall::CollectWhole(std::string_view first,
                                                          size_t bytes_max) {
  const size_t trusted = std::min<size_t>(static_cast<size_t>(left_), kWholeBytesTrusted);
  Enlarge(whole_, std::max(first.size() + trusted, kWholeBytesFirst));
  std::memcpy(whole_.data.get(), first.data(), first.size());
  size_t size = first.size();  // of the body so far, at the start of the buffer
  while (!ended_) {
    whole_.begin = 0;
    whole_.end = size;
    if (size > bytes_max) co_return std::unexpected(TooLarge(bytes_max));
    if (whole_.room() <
        std::min<size_t>(kReadBytesMin, left_ > 0 ? static_cast<size_t>(left_) : kReadBytesMin)) {
      Enlarge(whole_, whole_.capacity * 2);
    }
    SW_CO_CHECK(co_await FillWindow(whole_));
    whole_.begin = size;
    Result<std::string_view> part = Take(whole_);
    if (!part) co_return std::unexpected(std::move(part).error());
    if (!part->empty() && part->data() != whole_.data.get() + size) {
      std::memmove(whole_.data.get() + size, part->data(), part->size());
    }
    size += part->size();
  }
  if (size > bytes_max) co_return std::unexpected(TooLarge(bytes_max));
  co_return std::string_view(whole_.data.get(), size);
}

void UpstreamCall::FirstTokenSeen() {
  first_token_seen_ = true;
  connection_->ClearPhaseDeadline();
}

void UpstreamCall::LimitTotal(int64_t ms) {
  if (!connection_) {
    timeouts_.total_ms = std::min(timeouts_.total_ms, ms);
    return;
  }
  total_due_ns_ = std::min(total_due_ns_, loop_.clock->MonotonicNs() + ms * kNsPerMs);
  // Connecting has its own deadline; behind it what is left becomes this one.
  if (progress_ != Progress::kConnecting) connection_->SetTotalDeadline(LeftMs());
}

int64_t UpstreamCall::LeftMs() const {
  return std::max<int64_t>((total_due_ns_ - loop_.clock->MonotonicNs()) / kNsPerMs, 0);
}

void UpstreamCall::Finish() {
  if (!connection_) return;
  const bool clean = ended_ && !surplus_ && sent_all_ && connection_->head.keep_alive &&
                     connection_->interruption() == UpstreamConnection::Interruption::kNone;
  if (clean) {
    pool_.GiveBack(std::move(connection_));
  } else {
    connection_.reset();
  }
}

void UpstreamCall::Cancel() {
  cancelled_ = true;
  if (connection_) connection_->Interrupt(UpstreamConnection::Interruption::kCancelled);
}

void UpstreamCall::Lend(ReadWindow& window) {
  if (window.data) return;
  window = {
      .data = loop_.buffers.Take(), .capacity = BufferPool::kBufferBytes, .begin = 0, .end = 0};
}

void UpstreamCall::Return(ReadWindow& window) {
  window.begin = window.end = 0;
  if (window.data && window.capacity == BufferPool::kBufferBytes) {
    loop_.buffers.Put(std::move(window.data));
  } else if (&window == &window_) {
    window_ = {};  // enlarged for a head; an idle stream must not keep it
  }
}

Error UpstreamCall::Stopped() const {
  if (cancelled_) return {.code = ErrorCode::kCancelled, .message = "the call was given up"};
  const char* const what = progress_ == Progress::kAnswered
                               ? "the provider stopped in the middle of its answer"
                               : "the provider did not answer in time";
  return {.code = ErrorCode::kUpstreamTimeout, .message = what};
}

}  // namespace spillway
