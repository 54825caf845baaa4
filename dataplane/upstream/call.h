#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "common/error.h"
#include "dataplane/exchange/loop.h"
#include "dataplane/snapshot/snapshot.h"
#include "dataplane/upstream/chunk_decoder.h"
#include "dataplane/upstream/connection.h"
#include "dataplane/upstream/pool.h"
#include "dataplane/upstream/response_head.h"

namespace spillway {

// Bytes read and not yet used: [begin, end) of a buffer, which is lent only while there are some.
struct ReadWindow {
  std::unique_ptr<char[]> data;
  size_t capacity = 0;  // BufferPool::kPaddingBytes more can be read
  size_t begin = 0;
  size_t end = 0;
  bool empty() const { return begin == end; }
  size_t room() const { return capacity - end; }
  std::string_view bytes() const { return {data.get() + begin, end - begin}; }
};

struct CallTimeouts {
  int64_t first_token_ms = 30'000;  // from the connection to FirstTokenSeen
  int64_t idle_ms = 60'000;         // between two reads, after that
  int64_t total_ms = 600'000;       // of everything, connecting included
};

// One HTTP/1.1 request to a provider and its answer. Lives in its coroutine's frame; loop thread
// only. Its connection goes back to the pool when the answer was read to its end and framed
// cleanly, and is closed otherwise; redirects are answers like any other.
//
// Errors: kUpstreamUnreachable, kUpstreamTls (nothing was sent), kUpstreamTimeout,
// kUpstreamTruncated (reset or closed early), kUpstreamInvalid (no HTTP, or too large), kCancelled
// (by Cancel).
class UpstreamCall {
 public:
  enum class Progress : uint8_t { kConnecting, kSending, kSent, kAnswered };

  UpstreamCall(UpstreamPool& pool, const ProviderSpec& provider, const CallTimeouts& timeouts);
  ~UpstreamCall();
  UpstreamCall(const UpstreamCall&) = delete;
  UpstreamCall& operator=(const UpstreamCall&) = delete;

  // Connects or reuses, sends head and body, reads the head of the answer (1xx skipped). A refusal
  // that comes while the body is being sent ends the sending. `fresh`: only a new connection will
  // do.
  Task<Result<void>> Send(std::string_view head, std::span<const std::string_view> body,
                          bool fresh);
  // Views are valid until the next Fill, Collect or Finish.
  const UpstreamHead& head() const { return connection_->head; }

  // Decoded bytes of the body that are here; empty: none, or the end. Valid until the next Fill.
  Result<std::string_view> Next();
  // Waits for more bytes.
  Task<Result<void>> Fill() { return FillWindow(window_); }
  bool ended() const { return ended_; }  // the body, in order
  // All of the body, at most `bytes_max`; BufferPool::kPaddingBytes may be read behind it. Valid as
  // long as the call.
  Task<Result<std::string_view>> Collect(size_t bytes_max);

  // The answer has begun: from now on idle_ms counts instead of first_token_ms.
  void FirstTokenSeen();
  // Leaves at most so much time for the rest; never more than there was.
  void LimitTotal(int64_t ms);
  // Gives the connection back, or closes it. Also done by the destructor.
  void Finish();
  // Ends everything at once. From callbacks; idempotent.
  void Cancel();

  Progress progress() const { return progress_; }
  bool reused() const { return reused_; }
  // After a failure: the provider's TCP has acknowledged nothing of the request.
  bool Unacknowledged() const { return connection_ && connection_->Unacknowledged(); }

 private:
  class Outgoing;
  // False: the rest has to wait for room in the socket.
  bool SendSome(Outgoing& outgoing);
  // `heed`: no more once the provider says something or closes.
  Task<Result<void>> SendRest(Outgoing& outgoing, bool heed);
  Task<Result<void>> ReadHead(Outgoing& outgoing);
  Task<Result<void>> FillWindow(ReadWindow& window);
  // Decodes [begin, end) of the window; what it returns lies inside.
  Result<std::string_view> Take(ReadWindow& window);
  Task<Result<std::string_view>> CollectWhole(std::string_view first, size_t bytes_max);
  void Lend(ReadWindow& window);
  void Return(ReadWindow& window);
  int64_t LeftMs() const;
  Error Stopped() const;

  UpstreamPool& pool_;
  Loop& loop_;
  const ProviderSpec& provider_;
  CallTimeouts timeouts_;
  int64_t total_due_ns_ = 0;
  std::unique_ptr<UpstreamConnection> connection_;
  ReadWindow window_;
  ReadWindow whole_;  // of Collect, when the body does not fit the window
  ChunkDecoder chunks_;
  int64_t left_ = 0;  // of a body with a length
  Progress progress_ = Progress::kConnecting;
  bool reused_ = false;
  bool first_token_seen_ = false;
  bool read_first_ = false;  // more may be there already: read before waiting
  bool ended_ = false;
  bool surplus_ = false;  // bytes behind the body
  bool sent_all_ = false;
  bool broken_ = false;  // sending failed; an answer may be there all the same
  bool cancelled_ = false;
};

}  // namespace spillway
