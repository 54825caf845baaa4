#include "dataplane/pipeline/dispatch.h"

#include <algorithm>
#include <utility>

#include "common/ids.h"
#include "common/log.h"
#include "dataplane/pipeline/headers.h"

namespace spillway {
namespace {

constexpr int64_t kNsPerMs = 1'000'000;
constexpr size_t kRefusalBytesMax = size_t{1024} * 1024;

bool IsEventStream(std::string_view content_type) {
  constexpr std::string_view kType = "text/event-stream";
  return content_type.size() >= kType.size() &&
         EqualsIgnoreCase(content_type.substr(0, kType.size()), kType);
}

// The data of the line that names an error, out of raw events.
std::string_view ErrorLineOf(std::string_view events) {
  const size_t at = events.find("\"error\"");
  if (at == std::string_view::npos) return {};
  const size_t begin = events.find_last_of("\r\n", at) + 1;  // npos + 1: the start
  const std::string_view line = events.substr(begin, events.find_first_of("\r\n", at) - begin);
  return line.substr(std::min(line.find('{'), line.size()));
}

// An empty body has no padding behind it.
openai::Response ScanWhole(openai::Operation operation, std::string_view body) {
  return body.empty() ? openai::Response() : openai::ScanResponse(operation, body);
}

std::string Said(std::string_view provider, const openai::ProviderError& error) {
  std::string text = "the provider '" + std::string(provider) + "' reported an error";
  return error.message.empty() ? text : std::move(text) + ": " + error.message;
}

}  // namespace

Dispatch::Dispatch(const PipelineServices& services, Exchange& x, ResponseWriter& out,
                   const Job& job)
    : services_(services),
      x_(x),
      job_(job),
      watch_(x.loop, out, services.on_disconnect, services.limits) {}

Task<Result<void>> Dispatch::Run(const Plan& plan) {
  bool fresh = false;
  for (size_t next = 0;;) {
    SW_CO_CHECK(Begin(plan.attempts[next]));
    const Failed failed = co_await Try(fresh);
    x_.record.fallback = attempt_->planned().model != plan.attempts.front().model;
    if (!failed) co_return Result<void>{};
    if (watch_.left()) co_return Fail(ErrorCode::kCancelled, "the client left");
    // A kept connection that the provider had closed: the same again on a new one (promises U19).
    fresh = !fresh && StaleConnection();
    if (!fresh) ++next;
    if (next == plan.attempts.size() || !MayRetry(*failed) || OutOfTime()) break;
  }
  if (passable_) co_return Result<void>{};
  co_return std::unexpected(std::move(error_));
}

Result<void> Dispatch::Begin(const PlannedAttempt& planned) {
  watch_.Guard(nullptr);
  attempt_.reset();
  passable_ = false;
  const ModelSpec& model = *planned.model;
  const ProviderSpec& provider = *model.provider;
  AccessRecord& record = x_.record;
  record.model = model.name;
  record.provider = provider.name;
  std::string id = FastId();
  SW_TRY(OpenAttempt open, services_.meter.Start({.request_id = x_.request_id,
                                                  .attempt_id = id,
                                                  .attempt = record.attempts + 1,
                                                  .organization = job_.key->organization,
                                                  .team = job_.key->team,
                                                  .user = job_.user,
                                                  .key = job_.key->name,
                                                  .feature = job_.feature,
                                                  .route = job_.request.model,
                                                  .model = model.name,
                                                  .provider = provider.name,
                                                  .price = model.price,
                                                  .estimate = job_.estimate,
                                                  .revision = job_.revision,
                                                  .stream = job_.request.stream}));
  ++record.attempts;
  int64_t total_ms = planned.timeout_ms > 0 ? planned.timeout_ms : provider.total_timeout_ms;
  if (job_.deadline_ns != 0) {
    const int64_t left_ms = (job_.deadline_ns - x_.loop.clock->MonotonicNs()) / kNsPerMs;
    total_ms = std::clamp<int64_t>(left_ms, 1, total_ms);
  }
  // A whole answer comes when the last token is made: only the total bounds it.
  const int64_t first_ms =
      job_.request.stream ? std::min(provider.first_token_timeout_ms, total_ms) : total_ms;
  attempt_.emplace(
      x_, job_, planned, std::move(open), std::move(id), services_.upstream,
      CallTimeouts{
          .first_token_ms = first_ms, .idle_ms = provider.idle_timeout_ms, .total_ms = total_ms});
  watch_.Guard(&attempt_->call);
  return {};
}

Task<Dispatch::Failed> Dispatch::Try(bool fresh) {
  Attempt& attempt = *attempt_;
  const openai::SplicedBody body(job_.request, job_.body, attempt.model().upstream_model);
  std::string head;
  head.reserve(768);
  AppendUpstreamHead(head, {.provider = *attempt.model().provider,
                            .credential = attempt.planned().credential,
                            .operation = job_.request.operation,
                            .stream = job_.request.stream,
                            .body_bytes = body.size(),
                            .attempt_id = attempt.id(),
                            .client = x_.head});
  if (Result<void> sent = co_await attempt.call.Send(head, body.pieces(), fresh); !sent) {
    co_return Lost(std::move(sent).error());
  }
  const UpstreamHead& answer = attempt.call.head();
  attempt.http_status = answer.status;
  attempt.content_type = KnownContentType(answer.Find("content-type"), attempt.content_type_text);
  attempt.headers.reserve(512);
  AppendProviderHeaders(attempt.headers, answer);
  if (answer.status >= 300) co_return co_await TakeRefusal();
  const std::string_view encoding = answer.Find("content-encoding");
  if (!encoding.empty() && !EqualsIgnoreCase(encoding, "identity")) {
    co_return Spoiled({.code = ErrorCode::kUpstreamInvalid,
                       .message = "the provider encoded its answer although it was asked not to"},
                      attempt.Estimated(v1::END_UPSTREAM_ERROR));
  }
  if (job_.request.stream && IsEventStream(attempt.content_type)) co_return co_await TakeStream();
  co_return co_await TakeAnswer();
}

Task<Dispatch::Failed> Dispatch::TakeAnswer() {
  Attempt& attempt = *attempt_;
  attempt.call.FirstTokenSeen();
  attempt.OnFirstToken();
  Result<std::string_view> body =
      co_await attempt.call.Collect(static_cast<size_t>(services_.limits.unary_answer_bytes_max));
  if (!body) co_return Lost(std::move(body).error());
  co_return Judge(*body);
}

// A whole answer is here: is it one?
Dispatch::Failed Dispatch::Judge(std::string_view body) {
  Attempt& attempt = *attempt_;
  const openai::Response seen = ScanWhole(job_.request.operation, body);
  Attempt::Ending ending{.end = v1::END_FINISHED,
                         .source = v1::USAGE_SOURCE_PROVIDER,
                         .usage = seen.usage.value_or(TokenUsage{}),
                         .winner = true};
  if (!seen.is_object) {
    return Spoiled(
        {.code = ErrorCode::kUpstreamInvalid, .message = "the provider's answer is no JSON object"},
        attempt.Estimated(v1::END_UPSTREAM_ERROR));
  }
  if (seen.is_error) {
    if (!seen.usage) ending.source = v1::USAGE_SOURCE_NONE;
    ending.end = v1::END_UPSTREAM_ERROR;
    ending.winner = false;
    return Spoiled({.code = ErrorCode::kUpstreamError,
                    .message = Said(attempt.model().provider->name, openai::ScanError(body)),
                    .http_status = 502},
                   ending);
  }
  if (!seen.usage) {
    ending.source = v1::USAGE_SOURCE_ESTIMATED;
    ending.usage.input = job_.estimate.input;
    ending.usage.output = openai::EstimateInputTokens(static_cast<size_t>(seen.content_bytes));
  }
  attempt.body = body;
  attempt.Finish(ending);
  attempt.call.Finish();
  return std::nullopt;
}

Task<Dispatch::Failed> Dispatch::TakeStream() {
  Attempt& attempt = *attempt_;
  attempt.scanner.emplace(job_.request.operation, !job_.request.include_usage);
  openai::StreamScanner& scanner = *attempt.scanner;
  for (;;) {
    Result<std::string_view> bytes = attempt.call.Next();
    if (!bytes) co_return Lost(std::move(bytes).error());
    if (!bytes->empty()) {
      if (const Failed failed = JudgeEvents(*bytes)) co_return failed;
    } else if (attempt.call.ended()) {
      scanner.Finish(attempt.pieces);
    }
    if (scanner.any_event() || scanner.done()) {
      attempt.call.FirstTokenSeen();
      attempt.OnFirstToken();
      co_return std::nullopt;
    }
    // The views are gone with the next read.
    for (const std::string_view piece : attempt.pieces) attempt.held.append(piece);
    attempt.pieces.clear();
    if (!bytes->empty()) continue;
    Result<void> more =
        Fail(ErrorCode::kUpstreamTruncated, "the provider's stream ended without an event");
    if (!attempt.call.ended()) more = co_await attempt.call.Fill();
    if (!more) co_return Lost(std::move(more).error());
  }
}

// Before the first event: is what came worth to be committed to?
Dispatch::Failed Dispatch::JudgeEvents(std::string_view bytes) {
  Attempt& attempt = *attempt_;
  const bool good = attempt.scanner->Feed(bytes, attempt.pieces);
  if (attempt.scanner->error_seen()) {
    return Spoiled(
        {.code = ErrorCode::kUpstreamError,
         .message = Said(attempt.model().provider->name, openai::ScanError(ErrorLineOf(bytes))),
         .http_status = 502},
        attempt.Told(v1::END_UPSTREAM_ERROR));
  }
  // A good first event and a broken one behind it: the relay finds the end of the good part.
  if ((good || attempt.scanner->any_event()) &&
      attempt.held.size() < openai::StreamScanner::kEventBytesMax) {
    attempt.broken_events = !good;
    return std::nullopt;
  }
  return Spoiled(
      {.code = ErrorCode::kUpstreamInvalid, .message = "the provider's stream is no event stream"},
      attempt.Estimated(v1::END_UPSTREAM_ERROR));
}

Task<Dispatch::Failed> Dispatch::TakeRefusal() {
  Attempt& attempt = *attempt_;
  const int status = attempt.http_status;
  const int64_t retry_after_ms = RetryAfterMs(attempt.call.head());
  attempt.call.FirstTokenSeen();
  const Result<std::string_view> read = co_await attempt.call.Collect(kRefusalBytesMax);
  if (watch_.left())
    co_return Lost(Error{.code = ErrorCode::kCancelled, .message = "the client left"});
  attempt.body = read ? *read : std::string_view();
  const openai::Response seen = ScanWhole(job_.request.operation, attempt.body);
  Attempt::Ending ending = Attempt::Free(v1::END_UPSTREAM_ERROR);
  if (seen.usage)
    ending = {.end = ending.end, .source = v1::USAGE_SOURCE_PROVIDER, .usage = *seen.usage};
  attempt.Finish(ending);
  attempt.call.Finish();

  const std::string& provider = attempt.model().provider->name;
  if (status < 400) {
    error_ = {.code = ErrorCode::kUpstreamInvalid,
              .message = "the provider '" + provider +
                         "' answered with a redirect, which is never followed"};
    co_return AttemptFailure::kServerError;
  }
  const AttemptFailure failure = FailureOfStatus(status);
  if (failure == AttemptFailure::kCredential) {
    const auto& credentials = attempt.model().provider->credentials;
    const auto index = static_cast<size_t>(attempt.planned().credential);
    const std::string name = index < credentials.size() ? credentials[index].name : "none";
    log::Warn("a provider refused the gateway's credential",
              {{"provider", provider}, {"credential", name}, {"status", status}});
    error_ = {.code = ErrorCode::kUpstreamCredentials,
              .message = "the provider '" + provider + "' refused the gateway's own credential '" +
                         name + "' (status " + std::to_string(status) +
                         "); an operator has to replace it"};
    co_return failure;
  }
  error_ = {.code = status == 429 ? ErrorCode::kUpstreamRateLimited : ErrorCode::kUpstreamError,
            .message = Said(provider, openai::ScanError(attempt.body)) + " (status " +
                       std::to_string(status) + ")",
            .http_status = status,
            .retry_after_ms = retry_after_ms};
  passable_ = seen.is_object;
  co_return failure;
}

// The call itself failed: what may it have cost, and may another be tried?
Dispatch::Failed Dispatch::Lost(Error error) {
  Attempt& attempt = *attempt_;
  const UpstreamCall::Progress progress = attempt.call.progress();
  const bool sent = progress >= UpstreamCall::Progress::kSent && !attempt.call.Unacknowledged();
  v1::EndReason end = v1::END_UPSTREAM_CUT;
  AttemptFailure failure = AttemptFailure::kReset;
  if (error.code == ErrorCode::kCancelled) {
    end = v1::END_CLIENT_LEFT;
  } else if (progress == UpstreamCall::Progress::kConnecting) {
    end = v1::END_UNREACHABLE;
    failure = AttemptFailure::kConnect;
  } else if (error.code == ErrorCode::kUpstreamTimeout) {
    end = v1::END_UPSTREAM_STALLED;
    failure = AttemptFailure::kTimeout;
  } else if (error.code == ErrorCode::kUpstreamInvalid) {
    end = v1::END_UPSTREAM_ERROR;
  }
  // Before an answer a broken connection is one that was not reached, as far as the client goes.
  if (error.code == ErrorCode::kUpstreamTruncated && progress < UpstreamCall::Progress::kAnswered) {
    error.code = ErrorCode::kUpstreamUnreachable;
  }
  attempt.Finish(sent ? attempt.Told(end) : Attempt::Free(end));
  error_ = std::move(error);
  return failure;
}

// An answer came, but none to show.
Dispatch::Failed Dispatch::Spoiled(Error error, const Attempt::Ending& ending) {
  attempt_->Finish(ending);
  error_ = std::move(error);
  return AttemptFailure::kServerError;
}

bool Dispatch::StaleConnection() const {
  const UpstreamCall& call = attempt_->call;
  return call.reused() && call.progress() < UpstreamCall::Progress::kAnswered &&
         error_.code == ErrorCode::kUpstreamUnreachable;
}

bool Dispatch::OutOfTime() const {
  return job_.deadline_ns != 0 && x_.loop.clock->MonotonicNs() >= job_.deadline_ns;
}

}  // namespace spillway
