#include "dataplane/server/request_body.h"

#include <algorithm>
#include <array>
#include <string>

namespace spillway {
namespace {

// What an empty body's view points to: padding is readable behind it, too.
constexpr std::array<char, BufferPool::kPaddingBytes> kEmptyBody{};

}  // namespace

void RequestBody::Begin(const RequestHead& head) {
  head_ = &head;
  length_ = static_cast<size_t>(head.content_length.value_or(0));
  state_ = head.chunked || length_ > 0 ? State::kUnread : State::kRead;
  continue_due_ = head.expect_continue && state_ == State::kUnread;
  inline_bytes_ = 0;
  buffer_.Clear();
}

Task<Result<std::string_view>> RequestBody::ReadAll() {
  if (state_ == State::kUnread) {
    const Result<void> received = co_await Receive();
    connection_.Disarm();
    if (!received) {
      state_ = State::kFailed;
      co_return std::unexpected(received.error());
    }
    state_ = State::kRead;
  }
  if (state_ == State::kFailed)
    co_return Fail(ErrorCode::kCancelled, "the request body was not received");
  if (inline_bytes_ > 0) co_return connection_.inbox().view().substr(0, inline_bytes_);
  if (buffer_.size() > 0) co_return buffer_.view();
  co_return std::string_view(kEmptyBody.data(), 0);
}

Task<Result<void>> RequestBody::Receive() {
  if (!head_->chunked && connection_.inbox().view().size() >= length_ &&
      length_ <= BufferPool::kBufferBytes) {
    inline_bytes_ = length_;
    co_return Result<void>{};
  }
  if (continue_due_ && connection_.inbox().empty()) SW_CO_CHECK(co_await SendContinue());
  continue_due_ = false;
  connection_.ArmRate(limits_.body_window_ms, limits_.body_window_bytes);
  if (head_->chunked) co_return co_await ReceiveChunked();
  co_return co_await ReceiveSized();
}

// The session has refused what is over the limit by its stated length.
Task<Result<void>> RequestBody::ReceiveSized() {
  Inbox& inbox = connection_.inbox();
  if (length_ <= BufferPool::kBufferBytes) {
    while (inbox.view().size() < length_) {
      const Connection::ReadEnd end = co_await connection_.ReadInbox(length_);
      if (end != Connection::ReadEnd::kOk) co_return std::unexpected(ErrorOf(end));
    }
    inline_bytes_ = length_;
    co_return Result<void>{};
  }
  const std::string_view early = inbox.view().substr(0, length_);
  buffer_.Append(early, length_);
  inbox.Consume(early.size());
  while (buffer_.size() < length_) {
    size_t bytes = 0;
    const Connection::ReadEnd end = co_await connection_.ReadTo(buffer_.Space(length_), bytes);
    if (end != Connection::ReadEnd::kOk) co_return std::unexpected(ErrorOf(end));
    buffer_.Commit(bytes);
  }
  co_return Result<void>{};
}

Task<Result<void>> RequestBody::ReceiveChunked() {
  Inbox& inbox = connection_.inbox();
  const auto bytes_max = static_cast<size_t>(limits_.body_bytes_max);
  ChunkedReader reader;
  while (true) {
    while (!inbox.empty()) {
      const ChunkedReader::Step step = reader.Next(inbox.view());
      if (step.state == ChunkedReader::State::kBad) {
        co_return Fail(ErrorCode::kInvalidRequest, "the chunked request body is malformed");
      }
      if (buffer_.size() + step.data.size() > bytes_max) {
        co_return Fail(ErrorCode::kBodyTooLarge,
                       "the request body is larger than " + std::to_string(bytes_max) + " bytes");
      }
      buffer_.Append(step.data, bytes_max, BodyBuffer::kFirstBytes);
      inbox.Consume(step.consumed);
      if (step.state == ChunkedReader::State::kDone) co_return Result<void>{};
    }
    const Connection::ReadEnd end = co_await connection_.ReadInbox();
    if (end != Connection::ReadEnd::kOk) co_return std::unexpected(ErrorOf(end));
  }
}

Task<Result<void>> RequestBody::SendContinue() {
  static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  iovec piece{.iov_base = const_cast<char*>(kContinue.data()), .iov_len = kContinue.size()};
  co_return co_await connection_.WriteRest({&piece, 1}, limits_.write_stall_ms);
}

Error RequestBody::ErrorOf(Connection::ReadEnd end) const {
  if (end == Connection::ReadEnd::kTimedOut) {
    return {.code = ErrorCode::kRequestTimeout,
            .message = "the request body did not arrive in time"};
  }
  return {.code = ErrorCode::kCancelled, .message = "the client left while sending the request"};
}

void RequestBody::Release() {
  if (inline_bytes_ > 0) {
    connection_.inbox().Consume(inline_bytes_);
    connection_.inbox().Shrink();
    inline_bytes_ = 0;
  }
  buffer_.Clear();
}

bool RequestBody::Skippable() const {
  if (state_ == State::kRead) return true;
  if (state_ == State::kFailed || head_->chunked) return false;
  const size_t there = connection_.inbox().view().size();
  if (there >= length_) return true;
  // A client that waits for 100 may or may not send the body now: nobody can tell.
  return !continue_due_ && length_ - there <= static_cast<size_t>(limits_.skip_bytes_max);
}

Task<bool> RequestBody::SkipRest() {
  Release();
  if (state_ == State::kRead) co_return true;
  if (!Skippable()) co_return false;
  Inbox& inbox = connection_.inbox();
  size_t left = length_;
  connection_.ArmRate(limits_.body_window_ms, limits_.body_window_bytes);
  while (true) {
    const size_t part = std::min(left, inbox.view().size());
    inbox.Consume(part);
    left -= part;
    if (left == 0) break;
    if (co_await connection_.ReadInbox() != Connection::ReadEnd::kOk) co_return false;
  }
  connection_.Disarm();
  state_ = State::kRead;
  co_return true;
}

}  // namespace spillway
