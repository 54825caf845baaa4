#include "dataplane/server/answer.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "dataplane/exchange/counter.h"

namespace spillway {
namespace {

constexpr std::string_view kLineEnd = "\r\n";
constexpr std::string_view kLastChunk = "0\r\n\r\n";
constexpr std::string_view kLineEndAndLastChunk = "\r\n0\r\n\r\n";

std::unexpected<Error> ClientLeft() {
  return Fail(ErrorCode::kCancelled, "the client closed the connection");
}

}  // namespace

void Answer::Reset(const RequestHead& head, bool must_close) {
  SetStreaming(false);
  state_ = State::kNone;
  committed_ = false;
  http11_ = head.http11;
  head_only_ = head.method == Method::kHead;
  close_ = must_close || !head.keep_alive;
  head_text_.clear();
  pieces_.clear();
  left_ = {};
}

void Answer::SetStreaming(bool streaming) {
  if (counted_ == streaming) return;
  counted_ = streaming;
  Bump(loop_.counters.streams, streaming ? 1 : -1);
}

void Answer::StartHead(const ResponseHead& head, Framing::Kind kind, size_t length) {
  close_ = close_ || loop_.draining || kind == Framing::Kind::kUntilClose || !body_.Skippable();
  framing_ = {.kind = kind, .length = length, .http11 = http11_, .close = close_};
  head_text_.clear();
  AppendResponseHead(head_text_, head, framing_, loop_.date.Format(loop_.loop.clock->WallMs()));
}

void Answer::Add(std::string_view bytes) {
  if (bytes.empty()) return;
  pieces_.push_back({.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()});
}

Connection::WriteEnd Answer::Flush() {
  committed_ = true;
  left_ = pieces_;
  return connection_.TryWrite(left_);
}

Task<Result<void>> Answer::Finish(Connection::WriteEnd end) {
  Result<void> result;
  if (end == Connection::WriteEnd::kBlocked) {
    result = co_await connection_.WriteRest(left_, loop_.limits.write_stall_ms);
  } else if (end == Connection::WriteEnd::kFailed) {
    result = ClientLeft();
  }
  if (!result) state_ = State::kBroken;
  co_return result;
}

Task<Result<void>> Answer::Send(const ResponseHead& head, std::string_view body) {
  if (state_ != State::kNone) co_return ClientLeft();
  StartHead(head, Framing::Kind::kLength, body.size());
  pieces_.clear();
  Add(head_text_);
  if (!head_only_ && !HasNoBody(head.status)) Add(body);
  state_ = State::kComplete;
  if (const auto end = Flush(); end != Connection::WriteEnd::kDone) co_return co_await Finish(end);
  co_return Result<void>{};
}

void Answer::Begin(const ResponseHead& head) {
  if (state_ != State::kNone) return;
  state_ = State::kStreaming;
  SetStreaming(true);
  StartHead(head, http11_ ? Framing::Kind::kChunked : Framing::Kind::kUntilClose, 0);
}

void Answer::Frame(std::span<const std::string_view> pieces, bool last) {
  pieces_.clear();
  if (!committed_) Add(head_text_);
  if (head_only_) return;
  size_t size = 0;
  for (std::string_view piece : pieces) size += piece.size();
  const bool chunked = framing_.kind == Framing::Kind::kChunked;
  if (chunked && size > 0) {
    char* line_end = chunk_line_.data();
    line_end = std::to_chars(line_end, line_end + 16, size, 16).ptr;
    *line_end++ = '\r';
    *line_end++ = '\n';
    Add({chunk_line_.data(), line_end});
  }
  for (std::string_view piece : pieces) Add(piece);
  if (chunked && size > 0) Add(last ? kLineEndAndLastChunk : kLineEnd);
  if (chunked && size == 0 && last) Add(kLastChunk);
}

Task<Result<void>> Answer::Write(std::span<const std::string_view> pieces) {
  if (state_ != State::kStreaming) co_return ClientLeft();
  const bool any = std::ranges::any_of(pieces, [](std::string_view p) { return !p.empty(); });
  if (!any || head_only_) co_return Result<void>{};
  Frame(pieces, false);
  const bool head_due = !committed_;
  const Connection::WriteEnd end = Flush();
  if (head_due && end == Connection::WriteEnd::kDone) std::string().swap(head_text_);
  if (end != Connection::WriteEnd::kDone) co_return co_await Finish(end);
  co_return Result<void>{};
}

Task<Result<void>> Answer::End() { return WriteLast({}); }

Task<Result<void>> Answer::WriteLast(std::span<const std::string_view> pieces) {
  if (state_ != State::kStreaming) co_return ClientLeft();
  Frame(pieces, true);
  SetStreaming(false);
  state_ = State::kComplete;
  if (pieces_.empty()) co_return Result<void>{};
  if (const auto end = Flush(); end != Connection::WriteEnd::kDone) co_return co_await Finish(end);
  co_return Result<void>{};
}

void Answer::Abort() {
  if (state_ == State::kComplete) return;
  state_ = State::kBroken;
  close_ = true;
  SetStreaming(false);
}

}  // namespace spillway
