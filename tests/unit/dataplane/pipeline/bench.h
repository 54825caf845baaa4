#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/budgets/budgets.h"
#include "dataplane/budgets/estimator.h"
#include "dataplane/exchange/timer_wheel.h"
#include "dataplane/limits/limits.h"
#include "dataplane/metering/journal.h"
#include "dataplane/metering/meter.h"
#include "dataplane/pipeline/distinct_names.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/telemetry/telemetry.h"
#include "dataplane/upstream/pool.h"
#include "spillway/v1/resources.pb.h"
#include "tests/fakes/temp_folder.h"
#include "tests/unit/dataplane/upstream/await.h"
#include "tests/unit/dataplane/upstream/scripted_provider.h"

namespace spillway {

// What a test asks, and what a provider answers it, when it does not matter.
inline constexpr const char* kChat = "/v1/chat/completions";
inline const std::string kAnswer =
    R"({"choices":[{"message":{"content":"ok"}}],"usage":{"prompt_tokens":10,"completion_tokens":5}})";
inline std::string Chat(const std::string& model, const std::string& more = R"(,"max_tokens":8)") {
  return R"({"model":")" + model + R"(","messages":[{"role":"user","content":"hi"}])" + more + "}";
}

// The client's side of one exchange, kept in memory.
class FakeClient final : public ResponseWriter, public BodyReader {
 public:
  explicit FakeClient(std::string request_body);

  Task<Result<void>> Send(const ResponseHead& head, std::string_view body) override;
  void Begin(const ResponseHead& head) override;
  Task<Result<void>> Write(std::span<const std::string_view> pieces) override;
  Task<Result<void>> End() override;
  void Abort() override { aborted = true; }
  bool committed() const override { return !body.empty() || ended; }
  void WatchClient(std::function<void()> gone) override { gone_ = std::move(gone); }
  Task<Result<std::string_view>> ReadAll() override;
  void Release() override { released = true; }

  // The client closes its connection: seen by a watch, and by every write from now on.
  void Leave();
  bool watched() const { return gone_ != nullptr; }
  // The value of a header of the answer; empty: absent.
  std::string Header(const std::string& name) const;

  int status = 0;
  std::string content_type;
  std::string headers;
  std::string body;
  int writes = 0;
  bool ended = false;  // properly
  bool aborted = false;
  bool released = false;
  bool left = false;
  int leave_at_write = 0;  // the client is gone when that write is tried; 0: stays

 private:
  std::string request_body_;
  size_t request_bytes_;
  std::function<void()> gone_;
};

// One attempt, as the journal has it.
struct Billed {
  v1::Started started;
  v1::Started outgrown;   // the last one
  v1::Finished finished;  // end END_REASON_UNSPECIFIED: not finished
};

// What a bench is configured with besides its own resources.
struct Setup {
  std::vector<v1::Budget> budgets = {};
  std::vector<v1::RateLimit> rate_limits = {};
  std::vector<v1::Route> routes = {};
  std::vector<v1::Model> models = {};
  std::vector<std::string> key_routes = {};  // the key's allow-list; empty: everything
  bool standalone = true;  // false: budgets need a control plane, and there is none
};

// A pipeline with real stages, a real journal in a temporary folder, and two scripted providers on
// loopback. Models a and b (one each; a token of input costs 1,000 nano-dollars, one of output
// 2,000), routes: both (a, then b), keys (a with two credentials). Budgets hold their whole limit
// here, as without a control plane.
class Bench {
 public:
  static constexpr const char* kSecret =
      "sk-sw-abcdefghijkl-0123456789012345678901234567890123456789012";

  explicit Bench(OnDisconnect policy = OnDisconnect::kCancel, PipelineLimits limits = {},
                 const Setup& setup = {});
  explicit Bench(const Setup& setup) : Bench(OnDisconnect::kCancel, {}, setup) {}
  ~Bench();

  // One request from its head to its end.
  struct Asked {
    Asked(Bench& bench, std::string path, std::string body);
    RequestHead head;
    std::vector<std::pair<std::string, std::string>> own_headers;
    std::string path;
    FakeClient client;
    std::unique_ptr<Exchange> x;
    std::unique_ptr<Running<bool>> running;
  };
  std::unique_ptr<Asked> Ask(const std::string& path, const std::string& body);
  // The same with other headers than the right key; started by Go.
  std::unique_ptr<Asked> Prepare(const std::string& path, const std::string& body);
  void Go(Asked& asked);
  void Finish(Asked& asked) { (void)asked.running->Wait(); }
  // Ask and Finish.
  std::unique_ptr<Asked> Call(const std::string& path, const std::string& body);

  // Time passes, as far as deadlines go.
  void Pass(int64_t ms);
  // Runs the loop until everything that can happen has happened.
  void Settle();
  std::vector<Billed> Bills();
  // What the budgets were charged, all accounts together; nullopt while something is reserved.
  std::optional<Nanos> Charged() const;

  ManualClock clock;
  Loop loop{clock};
  ScriptedProvider a{loop};
  ScriptedProvider b{loop};
  UpstreamPool pool{loop};
  std::unique_ptr<Journal> journal;
  std::unique_ptr<Meter> meter;
  std::unique_ptr<Telemetry> telemetry;
  Estimator estimator;
  Budgets budgets;
  RateLimits rate_limits{{}, clock};
  DistinctNames names{clock};
  std::unique_ptr<Pipeline> pipeline;

 private:
  void OpenJournal();
  std::shared_ptr<const Snapshot> MakeSnapshot(const Setup& setup);

  TempFolder folder_;
};

v1::Model MakeModel(const std::string& name, const std::string& provider);
v1::Route MakeRoute(const std::string& name, const std::vector<std::string>& models, int attempts);
// For ever, over everything, on_exhausted reject, on_overrun finish: what a test changes.
v1::Budget MakeBudget(const std::string& name, Nanos limit);

}  // namespace spillway
