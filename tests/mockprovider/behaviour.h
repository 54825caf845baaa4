#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"

namespace spillway::mock {

// How a cut answer ends.
enum class CutHow : uint8_t {
  kFin,  // FIN in the middle of the body
  kRst,  // RST
  kEnd,  // the body ends as HTTP wants it, without finish_reason and [DONE]
};

// How one model answers. -1: never.
struct Behaviour {
  int64_t header_delay_ms = 0;
  int64_t ttft_ms = 0;  // behind the headers of a stream; before the headers otherwise
  int64_t gap_ms = 0;   // between two tokens; unary answers take as long as their tokens would
  int64_t tokens = 16;
  int64_t content_bytes = 0;  // pads the text to this size
  // Parts of the input, taken in this order, each at most what is left; then parts of the output.
  int64_t cached_tokens = 0;
  int64_t cache_write_tokens = 0;
  int64_t audio_input_tokens = 0;
  int64_t reasoning_tokens = 0;
  int64_t audio_output_tokens = 0;
  int64_t status = 200;
  int64_t retry_after = -1;     // seconds
  int64_t retry_after_ms = -1;  // sent as retry-after-ms
  int64_t stall_after = -1;     // tokens
  int64_t cut_after = -1;       // tokens
  int64_t malformed_event_at = -1;
  int64_t error_event_at = -1;    // an in-band error, then the end of the body
  int64_t fail_times = -1;        // only the first calls have the faults
  bool reset = false;             // RST as soon as the request's head is there
  bool reset_after_body = false;  // RST once the whole request is there
  bool hang = false;              // takes the request, never answers
  bool cut_inside_event = false;  // the cut falls into the middle of an event
  bool no_done = false;
  bool no_usage = false;
  bool usage_in_last_content = false;
  bool explicit_zero_usage = false;
  bool close_after_response = false;
  CutHow cut_how = CutHow::kFin;
  std::string service_tier;  // that the answer names; empty: the request's, else "default"
  std::string error_code;
  std::string error_type;
  std::string error_message;
  std::string body;  // in place of the error object

  // The pace without the faults.
  Behaviour WithoutFaults() const;
};

// Sets what a model's name asks for: "mock-error-429", "mock-tokens-64-gap-400". Names that do not
// begin with "mock-" and words that mean nothing are left alone.
void ApplyName(std::string_view model, Behaviour& behaviour);
// Sets what a JSON object names; refuses members that do not exist or have another type.
Result<void> ApplyJson(std::string_view object, Behaviour& behaviour);
// The words of ApplyName and the members of ApplyJson, for --help.
std::string DescribeBehaviours();

// A behaviour in force for one model, with what is left of fail_times.
struct Plan {
  Behaviour faulty;
  Behaviour plain;
  std::atomic<int64_t> failures_left{-1};  // -1: no end

  // The behaviour of the next call.
  const Behaviour& Take();
};

// Which model behaves how. What is put for "*" holds for every model, then comes the model's name,
// then what is put for the model itself. Thread-safe.
class BehaviourBook {
 public:
  // `json`: an object with "model" (default "*") and members of Behaviour, or an array of such.
  Result<void> Put(std::string_view json);
  void Remove(std::string_view model);
  void Clear();
  // What was put: a JSON array.
  std::string Render() const;
  std::vector<std::string> Models() const;

  std::shared_ptr<Plan> Resolve(std::string_view model);
  // Changes whenever a plan got from Resolve may be out of date.
  uint64_t version() const { return version_.load(std::memory_order_acquire); }
  // "*" resets connections: known before a model is.
  bool resets_all() const { return resets_all_.load(std::memory_order_relaxed); }

 private:
  Result<void> PutOne(std::string_view object);
  void Changed(std::string_view model);

  mutable std::mutex mutex_;
  std::map<std::string, std::string, std::less<>> put_;  // model -> JSON object
  std::map<std::string, std::shared_ptr<Plan>, std::less<>> plans_;
  std::atomic<uint64_t> version_{1};
  std::atomic<bool> resets_all_{false};
};

}  // namespace spillway::mock
