#include "dataplane/pipeline/pipeline.h"

#include <optional>
#include <utility>

#include "common/clock.h"
#include "dataplane/admission/admission.h"
#include "dataplane/authn/authenticator.h"
#include "dataplane/dialect/openai.h"
#include "dataplane/pipeline/attribution.h"
#include "dataplane/pipeline/course.h"
#include "dataplane/pipeline/dispatch.h"
#include "dataplane/pipeline/headers.h"
#include "dataplane/pipeline/job.h"
#include "dataplane/pipeline/model_list.h"
#include "dataplane/pipeline/relay.h"
#include "dataplane/pipeline/ticket.h"
#include "dataplane/telemetry/telemetry.h"

namespace spillway {
namespace {

void Describe(const Job& job, AccessRecord& record) {
  record.feature = job.feature;
  record.user = job.user;
  record.stream = job.request.stream;
  record.request_bytes = static_cast<int64_t>(job.body.size());
}

void Describe(const KeySpec& key, AccessRecord& record) {
  record.key = key.name;
  record.organization = key.organization;
  record.team = key.team;
  record.user = key.user;
}

// A client's own retry would multiply ours, or meet the same refusal: SDKs obey this header.
bool IsFinal(const AccessRecord& record, const Error& error) {
  return record.attempts > 1 || (error.code == ErrorCode::kBudgetExceeded && !error.transient);
}

}  // namespace

Pipeline::Pipeline(Loop& loop, PipelineServices services) : loop_(loop), services_(services) {}

Task<void> Pipeline::Handle(Exchange& x, ResponseWriter& out) {
  const std::optional<openai::Operation> operation = openai::OperationOf(x.head.path);
  const bool models = IsModelsPath(x.head.path);
  Result<void> done;
  if (!loop_.snapshot) {
    done = Fail(ErrorCode::kNotReady, "this gateway has no configuration yet");
  } else if (operation && x.head.method == Method::kPost) {
    done = co_await Serve(x, out, static_cast<int>(*operation));
  } else if (models && x.head.method == Method::kGet) {
    done = co_await ListModels(x, out);
  } else if (operation || models) {
    done = Fail(ErrorCode::kMethodNotAllowed,
                models ? "use GET for this path" : "use POST for this path");
  } else {
    done = Fail(ErrorCode::kNotFound, "there is no such path");
  }
  co_await Conclude(x, out, std::move(done));
}

Task<void> Pipeline::Refuse(Exchange& x, ResponseWriter& out, Error error) {
  return Conclude(x, out, std::unexpected(std::move(error)));
}

// The life of a request. Each step needs what the one before it returned.
Task<Result<void>> Pipeline::Serve(Exchange& x, ResponseWriter& out, int operation_index) {
  const auto operation = static_cast<openai::Operation>(operation_index);
  std::shared_ptr<const Snapshot> snapshot =
      loop_.snapshot;  // one request is planned on one snapshot
  x.record.revision = snapshot->position().revision();
  // Headers alone: nobody unknown makes us read a body.
  SW_CO_TRY(const Caller caller,
            Authenticator::Authenticate(x.head, *snapshot, loop_.clock->WallMs()));
  Describe(caller.key(), x.record);
  SW_CO_TRY(const int64_t timeout_ms, ClientTimeoutMs(x.head));
  Job job{.key = caller.shared_key(), .revision = x.record.revision};
  SW_CO_TRY(job.body, co_await x.body.ReadAll());
  SW_CO_TRY(job.request, openai::DecodeRequest(operation, job.body));
  SW_CO_CHECK(Attribute(x.head, job, services_.names));
  Describe(job, x.record);
  if (timeout_ms > 0) job.deadline_ns = x.accepted_ns + timeout_ms * kNsPerMs;
  SW_CO_TRY(std::shared_ptr<const RouteSpec> route,
            Admission::Admit(caller, *snapshot, job.request.model));
  x.record.route = route->name;
  SW_CO_TRY(Courses courses, PlanCourses(*snapshot, job, std::move(route), turn_++, timeout_ms));
  snapshot.reset();  // a long stream keeps its plan, not the configuration it came from
  Ticket ticket(services_, x, out, job, std::move(courses));
  if (!ticket.Free()) SW_CO_CHECK(co_await ticket.Admit());
  Dispatch dispatch(services_, x, out, job, ticket);
  SW_CO_CHECK(co_await dispatch.Run());
  co_return co_await Relay(services_, x, out, job, dispatch).Run();
}

Task<Result<void>> Pipeline::ListModels(Exchange& x, ResponseWriter& out) {
  const std::shared_ptr<const Snapshot> snapshot = loop_.snapshot;
  x.record.revision = snapshot->position().revision();
  SW_CO_TRY(const Caller caller,
            Authenticator::Authenticate(x.head, *snapshot, loop_.clock->WallMs()));
  Describe(caller.key(), x.record);
  SW_CO_TRY(const std::string body, AnswerModels(x.head.path, caller, *snapshot));
  ResponseHead head;
  AppendHeader(head.headers, "x-request-id", x.request_id);
  AppendHeader(head.headers, "x-spillway-revision", x.record.revision);
  x.record.status = head.status;
  x.record.response_bytes = static_cast<int64_t>(body.size());
  co_return co_await out.Send(head, body);
}

// The one place where an error becomes an answer, and the one where a request is recorded.
Task<void> Pipeline::Conclude(Exchange& x, ResponseWriter& out, Result<void> done) {
  AccessRecord& record = x.record;
  if (!done && done.error().code == ErrorCode::kCancelled) {
    record.end = "client_left";
    out.Abort();
  } else if (!done && out.committed()) {
    out.Abort();
  } else if (!done) {
    const Error& error = done.error();
    const std::string body = openai::RenderError(error);
    ResponseHead head{.status = error.HttpStatus()};
    if (head.status == 0) head.status = 500;  // an inner failure that has no status of its own
    AppendHeader(head.headers, "x-request-id", x.request_id);
    if (record.attempts > 0) AppendHeader(head.headers, "x-spillway-attempts", record.attempts);
    head.headers += x.answer_headers;
    if (IsFinal(record, error)) AppendHeader(head.headers, "x-should-retry", "false");
    if (error.retry_after_ms > 0)
      AppendHeader(head.headers, "retry-after", (error.retry_after_ms + 999) / 1'000);
    if (error.code == ErrorCode::kMethodNotAllowed) {
      AppendHeader(head.headers, "allow", IsModelsPath(x.head.path) ? "GET" : "POST");
    }
    record.refusal = InfoOf(error.code).name;
    record.status = head.status;
    record.response_bytes = static_cast<int64_t>(body.size());
    if (!co_await out.Send(head, body)) record.end = "client_left";
  }
  services_.telemetry.Record(x);
}

}  // namespace spillway
