#pragma once

#include <cstdint>

#include "common/error.h"
#include "dataplane/exchange/exchange.h"
#include "dataplane/exchange/loop.h"

namespace spillway {

class Budgets;
class DistinctNames;
class Estimator;
class Meter;
class RateLimits;
class TelemetryShard;
class UpstreamPool;

// What happens to the provider's answer when the client has left.
enum class OnDisconnect : uint8_t {
  kCancel,  // close the upstream connection; bill what was produced
  kDrain,   // read on, within limits, so that the provider's own usage is billed
};

struct PipelineLimits {
  int64_t unary_answer_bytes_max = int64_t{64} * 1024 * 1024;
  int64_t drain_bytes_max = int64_t{4} * 1024 * 1024;  // of one answer, after its client left
  int64_t drain_ms_max = 60'000;
  int64_t watch_client_after_ms = 50;  // unary answers: when to start looking for a client's close
  // How far ahead of its output a stream that outgrows its reservation reserves more.
  int64_t top_up_tokens = 256;
};

// What the pipeline of one loop uses; all of it outlives the pipeline. The estimator, the money and
// the names are one each of the process, shared by all loops.
struct PipelineServices {
  Meter& meter;
  TelemetryShard& telemetry;
  UpstreamPool& upstream;
  Estimator& estimator;
  Budgets* budgets = nullptr;         // nullptr: no budget is enforced
  RateLimits* rate_limits = nullptr;  // nullptr: no rate limit is
  DistinctNames* names = nullptr;     // nullptr: names from clients are not bounded
  OnDisconnect on_disconnect = OnDisconnect::kCancel;
  PipelineLimits limits = {};
};

// The life of a request, in order: authenticate, read, decode, attribute, plan, admit, dispatch,
// relay, settle. One per loop, owned by main; stateless but for counters. Loop thread only. Every
// exchange gets exactly one answer (or a connection that visibly broke) and exactly one access
// record.
class Pipeline {
 public:
  Pipeline(Loop& loop, PipelineServices services);

  // Answers one request, whatever it is. Both references must live until the task is done.
  Task<void> Handle(Exchange& x, ResponseWriter& out);
  // Answers with an error found before there was a request to handle (bad framing, limits).
  Task<void> Refuse(Exchange& x, ResponseWriter& out, Error error);

 private:
  Task<Result<void>> Serve(Exchange& x, ResponseWriter& out, int operation);
  Task<Result<void>> ListModels(Exchange& x, ResponseWriter& out);
  Task<void> Conclude(Exchange& x, ResponseWriter& out, Result<void> done);

  Loop& loop_;
  PipelineServices services_;
  uint64_t turn_ = 0;  // rotates credentials
};

}  // namespace spillway
