#include "dataplane/pipeline/dispatch.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "common/clock.h"
#include "common/ids.h"
#include "common/log.h"
#include "dataplane/pipeline/headers.h"

namespace spillway {
namespace {

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

// A provider's error, for its client: in the provider's own words unless these repeat the key that
// it was given.
struct Said {
  std::string text;
  bool withheld = false;
};

Said SaidIn(const Attempt& attempt, std::string_view body) {
  const openai::ProviderError error = openai::ScanError(body);
  const std::string_view key = attempt.credential();
  if (!key.empty() && (body.contains(key) || error.message.contains(key)))
    return {.text = std::string(kErrorWithheld), .withheld = true};
  std::string text = "the provider '" + attempt.model().provider->name + "' reported an error";
  if (!error.message.empty()) text += ": " + error.message;
  return {.text = std::move(text)};
}

}  // namespace

Dispatch::Dispatch(const PipelineServices& services, Exchange& x, ResponseWriter& out,
                   const Job& job, Ticket& ticket)
    : services_(services),
      x_(x),
      job_(job),
      ticket_(ticket),
      watch_(x.loop, out, services.on_disconnect, services.limits) {}

Task<Result<void>> Dispatch::Run() {
  SW_CO_CHECK(Begin(0, ticket_.First()));
  bool fresh = false;
  for (size_t next = 0;;) {
    const Failed failed = co_await Try(fresh);
    if (!failed) co_return Result<void>{};
    if (watch_.left()) co_return Fail(ErrorCode::kCancelled, "the client left");
    // A kept connection that the provider had closed: the same again on a new one.
    fresh = !fresh && StaleConnection();
    if (!fresh) ++next;
    if (!MayRetry(*failed) || OutOfTime()) break;
    SW_CO_TRY(const bool begun, co_await BeginNext(next));
    if (!begun) break;
  }
  attempt_->Close(/*winner=*/true);
  if (passable_) co_return Result<void>{};
  co_return std::unexpected(std::move(error_));
}

// The first attempt from `index` on that limits and budgets let pass. False: there is none, and the
// failure before it stands.
Task<Result<bool>> Dispatch::BeginNext(size_t& index) {
  watch_.Guard(nullptr);
  for (; index < ticket_.course().plan.attempts.size(); ++index) {
    Result<Holding> holding = co_await ticket_.Next(index);
    if (watch_.left()) co_return Fail(ErrorCode::kCancelled, "the client left");
    const Result<void> begun = Begin(index, std::move(holding));
    if (begun) co_return true;
    const ErrorCode code = begun.error().code;
    if (code != ErrorCode::kBudgetExceeded && code != ErrorCode::kRateLimited)
      co_return std::unexpected(begun.error());
  }
  co_return false;
}

Result<void> Dispatch::Begin(size_t index, Result<Holding> holding) {
  if (!holding) return std::unexpected(std::move(holding).error());
  const std::vector<PlannedAttempt>& attempts = ticket_.course().plan.attempts;
  const PlannedAttempt& planned = attempts[index];
  const bool fallback = planned.model != attempts.front().model;
  std::string id = FastId();
  SW_TRY(OpenAttempt open, Start(planned, *holding, fallback, id));
  if (attempt_) attempt_->Close(/*winner=*/false);
  passable_ = false;
  AccessRecord& record = x_.record;
  ++record.attempts;
  record.fallback = fallback;
  record.model = planned.model->name;
  record.provider = planned.model->provider->name;
  attempt_.emplace(x_, job_, services_.estimator, planned, *std::move(holding), std::move(open),
                   std::move(id), services_.upstream, TimeoutsOf(planned));
  watch_.Guard(&attempt_->call);
  return {};
}

// Before the first byte goes upstream.
Result<OpenAttempt> Dispatch::Start(const PlannedAttempt& planned, const Holding& holding,
                                    bool fallback, std::string_view id) {
  const ModelSpec& model = *planned.model;
  const std::string tier = openai::BilledTier(job_.request.service_tier);
  return services_.meter.Start({.request_id = x_.request_id,
                                .attempt_id = id,
                                .attempt = x_.record.attempts + 1,
                                .organization = job_.key->organization,
                                .team = job_.key->team,
                                .user = job_.user,
                                .key = job_.key->name,
                                .feature = job_.feature,
                                .route = job_.request.model,
                                .model = model.name,
                                .provider = model.provider->name,
                                .tags = job_.tags,
                                .price = model.price,
                                .estimate = holding.estimate.likely,
                                .service_tier = tier,
                                .revision = job_.revision,
                                .stream = job_.request.stream,
                                .fallback = fallback,
                                .downgraded = ticket_.downgraded(),
                                .unpriced = model.unpriced,
                                .accounts = holding.reservation.accounts(),
                                .reserved = holding.reservation.amount(),
                                .holder = holding.reservation.holder()});
}

CallTimeouts Dispatch::TimeoutsOf(const PlannedAttempt& planned) const {
  const ProviderSpec& provider = *planned.model->provider;
  int64_t total_ms = planned.timeout_ms > 0 ? planned.timeout_ms : provider.total_timeout_ms;
  if (job_.deadline_ns != 0) {
    const int64_t left_ms = (job_.deadline_ns - x_.loop.clock->MonotonicNs()) / kNsPerMs;
    total_ms = std::clamp<int64_t>(left_ms, 1, total_ms);
  }
  // A whole answer comes when the last token is made: only the total bounds it.
  const int64_t first_ms =
      job_.request.stream ? std::min(provider.first_token_timeout_ms, total_ms) : total_ms;
  return {.first_token_ms = first_ms, .idle_ms = provider.idle_timeout_ms, .total_ms = total_ms};
}

Task<Dispatch::Failed> Dispatch::Try(bool fresh) {
  Attempt& attempt = *attempt_;
  const openai::SplicedBody body(job_.request, job_.body, attempt.model().upstream_model,
                                 attempt.holding().output_cap);
  std::string head;
  head.reserve(768);
  AppendUpstreamHead(head, {.provider = *attempt.model().provider,
                            .credential = attempt.planned().credential,
                            .operation = job_.request.operation,
                            .stream = job_.request.stream,
                            .body_bytes = body.size(),
                            .attempt_id = attempt.id(),
                            .client = x_.head});
  attempt.WentUpstream();
  if (Result<void> sent = co_await attempt.call.Send(head, body.pieces(), fresh); !sent) {
    co_return Lost(std::move(sent).error());
  }
  const UpstreamHead& answer = attempt.call.head();
  attempt.http_status = answer.status;
  attempt.content_type = KnownContentType(answer.Find("content-type"), attempt.content_type_text);
  attempt.headers.reserve(512);
  AppendProviderHeaders(attempt.headers, answer, ticket_.ShowsLimits());
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
  const UpstreamHead& head = attempt.call.head();
  attempt.coming = head.framing == BodyFraming::kLength ? static_cast<size_t>(head.content_length)
                                                        : std::numeric_limits<size_t>::max();
  Result<std::string_view> body =
      co_await attempt.call.Collect(static_cast<size_t>(services_.limits.unary_answer_bytes_max));
  if (!body) co_return Lost(std::move(body).error());
  attempt.coming.reset();
  co_return Judge(*body);
}

// A whole answer is here: is it one?
Dispatch::Failed Dispatch::Judge(std::string_view body) {
  Attempt& attempt = *attempt_;
  const openai::Response seen = ScanWhole(job_.request.operation, body);
  Attempt::Ending ending{.end = v1::END_FINISHED,
                         .source = v1::USAGE_SOURCE_PROVIDER,
                         .usage = seen.usage.value_or(TokenUsage{}),
                         .service_tier = seen.service_tier};
  if (!seen.is_object) {
    return Spoiled(
        {.code = ErrorCode::kUpstreamInvalid, .message = "the provider's answer is no JSON object"},
        attempt.Estimated(v1::END_UPSTREAM_ERROR));
  }
  if (seen.is_error) {
    if (!seen.usage) ending.source = v1::USAGE_SOURCE_NONE;
    ending.end = v1::END_UPSTREAM_ERROR;
    return Spoiled({.code = ErrorCode::kUpstreamError,
                    .message = SaidIn(attempt, body).text,
                    .http_status = 502},
                   ending);
  }
  if (!seen.usage) {
    ending.source = v1::USAGE_SOURCE_ESTIMATED;
    ending.usage.input = attempt.holding().estimate.likely.input;
    ending.usage.output =
        std::min(openai::EstimateInputTokens(static_cast<size_t>(seen.content_bytes)),
                 attempt.output_most());
  }
  attempt.body = body;
  attempt.Settle(std::move(ending));
  attempt.Close(/*winner=*/true);
  attempt.call.Finish();
  return std::nullopt;
}

Task<Dispatch::Failed> Dispatch::TakeStream() {
  Attempt& attempt = *attempt_;
  attempt.scanner.emplace(job_.request.operation, !job_.request.include_usage,
                          attempt.credential());
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
    // Of an event that came in several reads `bytes` has a part.
    std::string said = attempt.scanner->withheld() ? std::string(kErrorWithheld)
                                                   : SaidIn(attempt, ErrorLineOf(bytes)).text;
    return Spoiled(
        {.code = ErrorCode::kUpstreamError, .message = std::move(said), .http_status = 502},
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
  attempt.body = read ? *read : std::string_view();
  const openai::Response seen = ScanWhole(job_.request.operation, attempt.body);
  // A refusal is free, also when its client no longer waits for it.
  Attempt::Ending ending =
      Attempt::Free(watch_.left() ? v1::END_CLIENT_LEFT : v1::END_UPSTREAM_ERROR);
  if (seen.usage)
    ending = {.end = ending.end, .source = v1::USAGE_SOURCE_PROVIDER, .usage = *seen.usage};
  attempt.Settle(std::move(ending));
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
  const Said said = SaidIn(attempt, attempt.body);
  error_ = {.code = status == 429 ? ErrorCode::kUpstreamRateLimited : ErrorCode::kUpstreamError,
            .message = said.text + " (status " + std::to_string(status) + ")",
            .http_status = status,
            .retry_after_ms = retry_after_ms};
  passable_ = seen.is_object && !said.withheld;
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
  attempt.Settle(sent ? attempt.Told(end) : Attempt::Free(end));
  error_ = std::move(error);
  return failure;
}

// An answer came, but none to show.
Dispatch::Failed Dispatch::Spoiled(Error error, Attempt::Ending ending) {
  attempt_->Settle(std::move(ending));
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
