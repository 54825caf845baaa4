#include "tests/unit/dataplane/pipeline/bench.h"

#include "common/crypto/sha256.h"
#include "common/ids.h"
#include "dataplane/dialect/openai.h"
#include "dataplane/snapshot/build.h"

namespace spillway {
namespace {

template <typename Message>
void AddEntry(v1::Kind kind, const Message& message, std::vector<std::string>& bytes,
              std::vector<std::pair<v1::Kind, std::string>>& names) {
  bytes.push_back(message.SerializeAsString());
  names.emplace_back(kind, message.name());
}

v1::Provider MakeProvider(const std::string& name, uint16_t port) {
  v1::Provider provider;
  provider.set_name(name);
  provider.set_dialect(v1::DIALECT_OPENAI);
  provider.set_base_url("http://127.0.0.1:" + std::to_string(port) + "/v1");
  for (const char* credential : {"main", "spare"}) {
    v1::Credential* added = provider.add_credentials();
    added->set_name(credential);
    added->mutable_api_key()->set_plaintext(std::string("secret-") + name + "-" + credential);
  }
  provider.mutable_timeouts()->set_connect_ms(1'000);
  provider.mutable_timeouts()->set_first_token_ms(2'000);
  provider.mutable_timeouts()->set_idle_ms(3'000);
  provider.mutable_timeouts()->set_total_ms(60'000);
  return provider;
}

}  // namespace

v1::Model MakeModel(const std::string& name, const std::string& provider) {
  v1::Model model;
  model.set_name(name);
  model.set_provider(provider);
  model.set_upstream_model("upstream-" + name);
  model.mutable_price()->set_input(1'000'000'000);
  model.mutable_price()->set_output(2'000'000'000);
  return model;
}

v1::Route MakeRoute(const std::string& name, const std::vector<std::string>& models, int attempts) {
  v1::Route route;
  route.set_name(name);
  route.set_strategy(v1::Route::STRATEGY_PRIORITY);
  for (const std::string& model : models) route.add_targets()->set_model(model);
  route.mutable_retry()->set_attempts(attempts);
  return route;
}

v1::Budget MakeBudget(const std::string& name, Nanos limit) {
  v1::Budget budget;
  budget.set_name(name);
  budget.set_id("id-" + name);
  budget.set_limit_nanos(limit);
  budget.set_window(v1::WINDOW_LIFETIME);
  return budget;
}

FakeClient::FakeClient(std::string request_body)
    : request_body_(std::move(request_body)), request_bytes_(request_body_.size()) {
  request_body_.append(openai::kBodyPadding, '\0');
}

Task<Result<void>> FakeClient::Send(const ResponseHead& head, std::string_view text) {
  if (left) co_return Fail(ErrorCode::kCancelled, "left");
  Begin(head);
  body = text;
  ended = true;
  co_return Result<void>{};
}

void FakeClient::Begin(const ResponseHead& head) {
  status = head.status;
  content_type = head.content_type;
  headers = "\r\n" + head.headers;
}

Task<Result<void>> FakeClient::Write(std::span<const std::string_view> pieces) {
  ++writes;
  if (writes == leave_at_write) left = true;
  if (left) co_return Fail(ErrorCode::kCancelled, "left");
  for (const std::string_view piece : pieces) body += piece;
  co_return Result<void>{};
}

Task<Result<void>> FakeClient::End() {
  if (left) co_return Fail(ErrorCode::kCancelled, "left");
  ended = true;
  co_return Result<void>{};
}

Task<Result<std::string_view>> FakeClient::ReadAll() {
  co_return std::string_view(request_body_).substr(0, request_bytes_);
}

void FakeClient::Leave() {
  left = true;
  if (gone_) gone_();
}

std::string FakeClient::Header(const std::string& name) const {
  const std::string line = "\r\n" + name + ": ";
  const size_t at = headers.find(line);
  if (at == std::string::npos) return "";
  const size_t begin = at + line.size();
  return headers.substr(begin, headers.find("\r\n", begin) - begin);
}

Bench::Bench(OnDisconnect policy, PipelineLimits limits, const Setup& setup)
    : budgets({.instance = "test", .holder = "holder", .standalone = setup.standalone}, clock) {
  OpenJournal();
  meter = std::make_unique<Meter>(*journal, clock);
  telemetry = std::make_unique<Telemetry>(std::vector<Loop*>{&loop}, nullptr);
  pipeline = std::make_unique<Pipeline>(loop, PipelineServices{.meter = *meter,
                                                               .telemetry = telemetry->shard(0),
                                                               .upstream = pool,
                                                               .estimator = estimator,
                                                               .budgets = &budgets,
                                                               .rate_limits = &rate_limits,
                                                               .names = &names,
                                                               .on_disconnect = policy,
                                                               .limits = limits});
  loop.snapshot = MakeSnapshot(setup);
}

Bench::~Bench() {
  loop.io.DropPending();
  pipeline.reset();
  telemetry.reset();
  meter.reset();
  journal.reset();
}

void Bench::OpenJournal() {
  Result<DataDir> dir = DataDir::Open(folder_.path(), "test");
  if (!dir) throw std::runtime_error(dir.error().message);
  Result<std::unique_ptr<Journal>> opened = Journal::Open(*dir,
                                                          {.version = "test",
                                                           .bytes_max = 4 * 1024 * 1024,
                                                           .segment_bytes = 1024 * 1024,
                                                           .threaded = false},
                                                          clock);
  if (!opened) throw std::runtime_error(opened.error().message);
  journal = *std::move(opened);
}

std::shared_ptr<const Snapshot> Bench::MakeSnapshot(const Setup& setup) {
  std::vector<std::string> bytes;
  std::vector<std::pair<v1::Kind, std::string>> names;
  AddEntry(v1::KIND_PROVIDER, MakeProvider("pa", a.port()), bytes, names);
  AddEntry(v1::KIND_PROVIDER, MakeProvider("pb", b.port()), bytes, names);
  AddEntry(v1::KIND_MODEL, MakeModel("a", "pa"), bytes, names);
  AddEntry(v1::KIND_MODEL, MakeModel("b", "pb"), bytes, names);
  AddEntry(v1::KIND_ROUTE, MakeRoute("one", {"a"}, 1), bytes, names);
  AddEntry(v1::KIND_ROUTE, MakeRoute("both", {"a", "b"}, 2), bytes, names);
  AddEntry(v1::KIND_ROUTE, MakeRoute("keys", {"a"}, 2), bytes, names);
  AddEntry(v1::KIND_ROUTE, MakeRoute("vendor/with-slash", {"a"}, 1), bytes, names);
  for (const v1::Model& model : setup.models) AddEntry(v1::KIND_MODEL, model, bytes, names);
  for (const v1::Route& route : setup.routes) AddEntry(v1::KIND_ROUTE, route, bytes, names);
  for (const v1::Budget& budget : setup.budgets) AddEntry(v1::KIND_BUDGET, budget, bytes, names);
  for (const v1::RateLimit& limit : setup.rate_limits)
    AddEntry(v1::KIND_RATE_LIMIT, limit, bytes, names);
  v1::Organization organization;
  organization.set_name("acme");
  AddEntry(v1::KIND_ORGANIZATION, organization, bytes, names);
  v1::Team team;
  team.set_name("support");
  team.set_organization("acme");
  AddEntry(v1::KIND_TEAM, team, bytes, names);
  v1::Key key;
  key.set_name("bot");
  key.set_team("support");
  key.set_feature("chat");
  for (const std::string& route : setup.key_routes) key.add_routes(route);
  v1::KeySecret* secret = key.add_secrets();
  secret->set_public_id("abcdefghijkl");
  secret->set_sha256(std::string(AsBytes(Sha256(kSecret))));
  AddEntry(v1::KIND_KEY, key, bytes, names);

  std::vector<EntryView> entries;
  entries.reserve(bytes.size());
  for (size_t i = 0; i < bytes.size(); ++i) {
    entries.push_back({.kind = names[i].first, .name = names[i].second, .bytes = bytes[i]});
  }
  v1::Position position;
  position.set_cluster_id("test");
  position.set_epoch(1);
  position.set_revision(42);
  Result<SnapshotPtr> built =
      Build(entries, position, {.secrets = {.plaintext = true}, .compute_digest = true});
  if (!built) throw std::runtime_error(built.error().message);
  return *built;
}

Bench::Asked::Asked(Bench& bench, std::string the_path, std::string body)
    : path(std::move(the_path)), client(std::move(body)) {
  head.method = Method::kPost;
  own_headers = {{"Authorization", std::string("Bearer ") + kSecret},
                 {"Content-Type", "application/json"}};
  x = std::make_unique<Exchange>(Exchange{.loop = bench.loop,
                                          .head = head,
                                          .body = client,
                                          .request_id = "req-1",
                                          .accepted_ns = bench.clock.MonotonicNs()});
}

std::unique_ptr<Bench::Asked> Bench::Prepare(const std::string& path, const std::string& body) {
  return std::make_unique<Asked>(*this, path, body);
}

void Bench::Go(Asked& asked) {
  asked.head.path = asked.path;
  for (const auto& [name, value] : asked.own_headers) asked.head.headers.push_back({name, value});
  const auto handle = [](Pipeline& pipeline, Exchange& x, ResponseWriter& out) -> Task<bool> {
    co_await pipeline.Handle(x, out);
    co_return true;
  };
  asked.running = std::make_unique<Running<bool>>(loop, handle(*pipeline, *asked.x, asked.client));
}

std::unique_ptr<Bench::Asked> Bench::Ask(const std::string& path, const std::string& body) {
  auto asked = Prepare(path, body);
  Go(*asked);
  return asked;
}

std::unique_ptr<Bench::Asked> Bench::Call(const std::string& path, const std::string& body) {
  auto asked = Ask(path, body);
  Finish(*asked);
  return asked;
}

void Bench::Pass(int64_t ms) {
  clock.AdvanceMs(ms);
  loop.timers->Advance();
  Settle();
}

void Bench::Settle() {
  loop.io.restart();
  while (loop.io.poll() > 0) {
  }
}

std::optional<Nanos> Bench::Charged() const {
  const std::vector<v1::Closed> closing = budgets.Closing();
  if (closing.empty()) return std::nullopt;
  Nanos charged = 0;
  for (const v1::Closed& closed : closing) {
    for (const v1::AccountCharge& account : closed.accounts()) charged += account.charged();
  }
  return charged;
}

std::vector<Billed> Bench::Bills() {
  journal->RunOnce();
  Result<std::vector<StoredRecord>> records =
      journal->Read(journal->incarnation(), 1, INT64_MAX, 1024 * 1024);
  if (!records) throw std::runtime_error(records.error().message);
  std::vector<Billed> bills;
  std::vector<int64_t> seqs;
  for (const StoredRecord& stored : *records) {
    v1::UsageRecord record;
    record.ParseFromString(stored.bytes);
    if (record.has_started()) {
      bills.push_back({.started = record.started(), .outgrown = {}, .finished = {}});
      seqs.push_back(stored.seq);
    }
    for (size_t i = 0; i < seqs.size(); ++i) {
      if (record.has_outgrown() && seqs[i] == record.outgrown().started_seq())
        bills[i].outgrown = record.outgrown();
      if (record.has_finished() && seqs[i] == record.finished().started_seq())
        bills[i].finished = record.finished();
    }
  }
  return bills;
}

}  // namespace spillway
