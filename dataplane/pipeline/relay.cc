#include "dataplane/pipeline/relay.h"

#include <boost/asio/deferred.hpp>
#include <boost/asio/post.hpp>
#include <utility>

#include "dataplane/pipeline/headers.h"

namespace spillway {
namespace {

// How long the end of the body may stay away behind [DONE] before its connection is given up.
constexpr int64_t kLingerMs = 250;
// Reads (of at most 16 KiB) behind one another before the loop's other requests and timers have
// their turn: a provider may be faster than the loop.
constexpr int kReadsInARowMax = 4;

}  // namespace

Relay::Relay(const PipelineServices& services, Exchange& x, ResponseWriter& out, const Job& job,
             Dispatch& dispatch)
    : services_(services),
      x_(x),
      out_(out),
      job_(job),
      attempt_(dispatch.attempt()),
      watch_(dispatch.watch()) {}

Task<Result<void>> Relay::Run() { return attempt_.scanner ? SendStream() : SendWhole(); }

ResponseHead Relay::HeadOfAnswer(int64_t upstream_us) {
  AccessRecord& record = x_.record;
  const int64_t now_ns = x_.loop.clock->MonotonicNs();
  record.status = attempt_.http_status;
  record.first_token_us = (now_ns - x_.accepted_ns) / 1'000;
  ResponseHead head{.status = attempt_.http_status,
                    .content_type = attempt_.content_type,
                    .headers = std::move(attempt_.headers)};
  AppendHeader(head.headers, "x-request-id", x_.request_id);
  AppendHeader(head.headers, "x-spillway-model", record.model);
  AppendHeader(head.headers, "x-spillway-attempts", record.attempts);
  if (record.fallback) AppendHeader(head.headers, "x-spillway-fallback", "true");
  AppendHeader(head.headers, "x-spillway-overhead-us", record.first_token_us - upstream_us);
  AppendHeader(head.headers, "x-spillway-revision", record.revision);
  head.headers += x_.answer_headers;
  return head;
}

Task<Result<void>> Relay::SendWhole() {
  AccessRecord& record = x_.record;
  ResponseHead head = HeadOfAnswer(record.upstream_us);
  AppendHeader(head.headers, "x-spillway-cost-usd", FormatUsd(record.cost));
  if (head.status >= 300) {
    const ErrorCode code =
        head.status == 429 ? ErrorCode::kUpstreamRateLimited : ErrorCode::kUpstreamError;
    record.refusal = InfoOf(code).name;
    // The client's own retries on top of ours would multiply.
    if (record.attempts > 1 && head.headers.find(kShouldRetry) == std::string::npos) {
      AppendHeader(head.headers, kShouldRetry, "false");
    }
  }
  record.response_bytes = static_cast<int64_t>(attempt_.body.size());
  Result<void> sent = co_await out_.Send(head, attempt_.body);
  if (!sent) record.end = "client_left";
  co_return sent;
}

Task<Result<void>> Relay::SendStream() {
  x_.body.Release();
  out_.Begin(HeadOfAnswer(x_.record.upstream_us + attempt_.first_token_us()));
  if (!attempt_.held.empty()) attempt_.pieces.insert(attempt_.pieces.begin(), attempt_.held);
  v1::EndReason end = co_await Pump();
  if (watch_.left()) end = v1::END_CLIENT_LEFT;
  attempt_.Settle(attempt_.Told(end));
  attempt_.Close(/*winner=*/true);
  attempt_.call.Finish();
  co_return co_await Close(end);
}

// From the first event, which is in hand, to the end. The last pieces stay in hand: they go out
// together with the end.
Task<v1::EndReason> Relay::Pump() {
  openai::StreamScanner& scanner = *attempt_.scanner;
  for (;;) {
    attempt_.TopUp(services_.limits.top_up_tokens);
    if (attempt_.broken_events) co_return v1::END_UPSTREAM_ERROR;
    const bool ended = attempt_.call.ended();
    if (ended && !scanner.mid_event()) co_return Ended();
    if (!attempt_.pieces.empty() && !co_await Forward()) co_return v1::END_CLIENT_LEFT;
    attempt_.pieces.clear();
    if (ended) {
      scanner.Finish(attempt_.pieces);
      co_return Ended();
    }
    const Result<std::string_view> bytes = attempt_.call.Next();
    if (!bytes) co_return Interrupted(bytes.error());
    if (!bytes->empty()) {
      attempt_.broken_events = !scanner.Feed(*bytes, attempt_.pieces);
      if (watch_.left() && Drained(bytes->size())) co_return v1::END_CLIENT_LEFT;
      if (++reads_ % kReadsInARowMax == 0)
        co_await boost::asio::post(x_.loop.io, boost::asio::deferred);
      continue;
    }
    if (attempt_.call.ended()) continue;
    if (scanner.done() && !std::exchange(lingering_, true)) attempt_.call.LimitTotal(kLingerMs);
    if (const Result<void> more = co_await attempt_.call.Fill(); !more)
      co_return Interrupted(more.error());
  }
}

// False: the client is gone, and with it the reason to go on.
Task<bool> Relay::Forward() {
  if (!watch_.left()) {
    CountPieces();
    if (co_await out_.Write(attempt_.pieces)) co_return true;
    watch_.OnLeft();
  }
  co_return services_.on_disconnect == OnDisconnect::kDrain;
}

bool Relay::Drained(size_t bytes) {
  drained_bytes_ += static_cast<int64_t>(bytes);
  return services_.on_disconnect == OnDisconnect::kCancel ||
         drained_bytes_ > services_.limits.drain_bytes_max;
}

// The body did not come to its end. What counts is whether the events did.
v1::EndReason Relay::Interrupted(const Error& error) {
  if (watch_.left() || error.code == ErrorCode::kCancelled) return v1::END_CLIENT_LEFT;
  if (attempt_.scanner->done() || attempt_.scanner->error_seen()) return Ended();
  return error.code == ErrorCode::kUpstreamTimeout ? v1::END_UPSTREAM_STALLED
                                                   : v1::END_UPSTREAM_CUT;
}

v1::EndReason Relay::Ended() const {
  const openai::StreamScanner& scanner = *attempt_.scanner;
  if (scanner.error_seen()) return v1::END_UPSTREAM_ERROR;
  // Some compatible servers end without [DONE]: a finish reason of each choice and a clean end will
  // do.
  const bool finished = scanner.done() || scanner.finishes() >= job_.request.choices;
  return finished ? v1::END_FINISHED : v1::END_UPSTREAM_CUT;
}

Task<Result<void>> Relay::Close(v1::EndReason end) {
  if (end == v1::END_CLIENT_LEFT) {
    out_.Abort();
    co_return Fail(ErrorCode::kCancelled, "the client left");
  }
  CountPieces();
  const bool told =
      attempt_.scanner->error_seen() && !attempt_.scanner->withheld() && !attempt_.broken_events;
  if (end == v1::END_FINISHED || (end == v1::END_UPSTREAM_ERROR && told)) {
    co_return co_await out_.WriteLast(attempt_.pieces);
  }
  const Error error = WhatHappened(end);
  x_.record.refusal = InfoOf(error.code).name;
  const std::string event = openai::RenderStreamError(error);
  attempt_.pieces.emplace_back("\n\n");  // of an event that lacked it
  attempt_.pieces.emplace_back(event);
  co_await out_.Write(attempt_.pieces);
  out_.Abort();
  co_return Result<void>{};
}

void Relay::CountPieces() {
  for (const std::string_view piece : attempt_.pieces) {
    x_.record.response_bytes += static_cast<int64_t>(piece.size());
  }
}

Error Relay::WhatHappened(v1::EndReason end) const {
  switch (end) {
    case v1::END_UPSTREAM_STALLED:
      return {.code = ErrorCode::kUpstreamTimeout,
              .message = "the provider stopped sending in the middle of its answer"};
    case v1::END_UPSTREAM_ERROR:
      if (attempt_.scanner->withheld())
        return {.code = ErrorCode::kUpstreamError, .message = std::string(kErrorWithheld)};
      return {.code = ErrorCode::kUpstreamInvalid,
              .message = "the provider sent an event that cannot be read"};
    default:
      return {.code = ErrorCode::kUpstreamTruncated,
              .message = "the provider's answer stopped before its end"};
  }
}

}  // namespace spillway
