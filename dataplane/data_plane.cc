#include "dataplane/data_plane.h"

#include <cstdio>
#include <print>
#include <utility>

#include "common/crypto/key_file.h"
#include "common/log.h"
#include "dataplane/budgets/closing.h"
#include "dataplane/budgets/level_log.h"
#include "dataplane/exchange/loop.h"
#include "dataplane/metering/account_charges.h"
#include "dataplane/metering/standalone_totals.h"

namespace spillway {
namespace {

// How long the end of a drain waits for the control plane to confirm the journal.
constexpr int64_t kFlushMs = 10'000;

// What the budget accounts of a dead process come to.
std::vector<v1::Closed> CloseAccounts(const std::string& folder, const AccountCharges& charged) {
  return FinalChargesOf(folder, charged.sums(), ReadBootId());
}

std::string WithoutLineEnd(std::string_view text) {
  while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
  return std::string(text);
}

}  // namespace

Result<std::unique_ptr<DataPlane>> DataPlane::Start(const DataPlaneOptions& options) {
  std::unique_ptr<DataPlane> plane(new DataPlane(options));
  SW_CHECK(plane->OpenStorage());
  SW_CHECK(plane->OpenBudgets());
  if (!plane->standalone()) SW_CHECK(plane->OpenBus());
  SW_CHECK(plane->StartTraffic());
  SW_CHECK(plane->StartConfiguration());
  if (!plane->standalone()) SW_CHECK(plane->StartLimitGossip());
  SW_CHECK(plane->StartOperators());
  SW_CHECK(plane->WritePortFile());
  log::Info("data plane started", {{"version", Version()},
                                   {"instance", plane->data_dir_->instance()},
                                   {"traffic_port", int{plane->server_->port()}},
                                   {"ops_port", int{plane->ops_->port()}},
                                   {"threads", static_cast<int64_t>(plane->pools_.size())}});
  return plane;
}

Result<void> DataPlane::OpenStorage() {
  SW_TRY(DataDir data_dir, DataDir::Open(options_.data_dir, options_.instance_id));
  data_dir_.emplace(std::move(data_dir));
  SW_TRY(marker_, CrashMarker::Open(options_.data_dir + "/crash"));
  SW_CHECK(marker_->Install());
  SW_TRY(journal_, Journal::Open(*data_dir_,
                                 {.version = std::string(Version()),
                                  .bytes_max = options_.journal_bytes,
                                  .full = options_.journal_full,
                                  .standalone = standalone(),
                                  .final_charges = CloseAccounts},
                                 SystemClock()));
  meter_.emplace(*journal_, SystemClock());
  names_.emplace(SystemClock());
  return {};
}

Result<void> DataPlane::OpenBudgets() {
  BudgetsOptions budgets{.instance = data_dir_->instance(),
                         .holder = data_dir_->incarnation(),
                         .lease_wait_ms = options_.lease_wait_ms,
                         .standalone = standalone(),
                         .journal_full = [this] { return journal_->full(); }};
  if (standalone()) {
    SW_TRY(const v1::UsageTotals totals, ReadUsage(options_.data_dir));
    budgets.spent.assign(totals.accounts().begin(), totals.accounts().end());
  }
  budgets_ = std::make_unique<Budgets>(budgets, SystemClock());
  return {};
}

Result<void> DataPlane::OpenBus() {
  SW_TRY(verifier_, Verifier::FromFile(options_.verify_key_file));
  NatsOptions nats{.url = options_.nats_url,
                   .client_name = "spillway-dataplane " + data_dir_->instance(),
                   .user = options_.nats_user,
                   .credentials_file = options_.nats_credentials_file,
                   .tls_ca_file = options_.nats_tls_ca_file,
                   .tls_cert_file = options_.nats_tls_cert_file,
                   .tls_key_file = options_.nats_tls_key_file};
  if (!options_.nats_password_file.empty()) {
    SW_TRY(const Secret password, ReadKeyFile(options_.nats_password_file));
    nats.password = Secret(WithoutLineEnd(password.Reveal()));
  }
  SW_TRY(bus_, NatsBus::Open(std::move(nats)));
  shipper_ = std::make_unique<Shipper>(*journal_, *bus_, *verifier_, SystemClock());
  LeaseClientHooks hooks{
      .highest_epoch = [this] { return journal_->highest_epoch(); },
      .note_epoch =
          [this](int64_t epoch) { return journal_->NoteInstruction(epoch, journal_->retired()); }};
  SW_TRY(lease_client_,
         LeaseClient::Start({.instance = data_dir_->instance(),
                             .holder = data_dir_->incarnation(),
                             .folder = journal_->folder(),
                             .boot_id = ReadBootId()},
                            std::move(hooks), *budgets_, *bus_, *verifier_, SystemClock()));
  return {};
}

Result<void> DataPlane::StartTraffic() {
  rate_limits_ =
      std::make_unique<RateLimits>(RateLimitOptions{.cluster = !standalone()}, SystemClock());
  ServerOptions server = options_.server;
  server.on_thread_start = [] { CrashMarker::PrepareThread(); };
  SW_TRY(server_, Server::Create(server, SystemClock()));
  std::unique_ptr<AccessLog> log;
  if (options_.access_log != "off") {
    SW_TRY(log, AccessLog::Open(options_.access_log));
  }
  telemetry_ = std::make_unique<Telemetry>(server_->loops(), std::move(log));
  std::vector<Pipeline*> pipelines;
  for (Loop* loop : server_->loops()) {
    pools_.push_back(std::make_unique<UpstreamPool>(*loop));
    pipelines_.push_back(std::make_unique<Pipeline>(
        *loop, PipelineServices{.meter = *meter_,
                                .telemetry = telemetry_->shard(loop->index),
                                .upstream = *pools_.back(),
                                .estimator = estimator_,
                                .budgets = budgets_.get(),
                                .rate_limits = rate_limits_.get(),
                                .names = &*names_,
                                .on_disconnect = options_.on_disconnect}));
    pipelines.push_back(pipelines_.back().get());
  }
  server_->Start(pipelines);
  return {};
}

Result<void> DataPlane::StartConfiguration() {
  if (!standalone()) return StartFeed();
  SW_TRY(files_, FileConfig::Start(
                     {.paths = {options_.config}},
                     [this](const std::shared_ptr<const Snapshot>& snapshot) {
                       server_->SetSnapshot(snapshot);
                     },
                     SystemClock()));
  return {};
}

Result<void> DataPlane::StartFeed() {
  FeedOptions feed{.instance = data_dir_->instance(),
                   .incarnation = data_dir_->incarnation(),
                   .version = std::string(Version()),
                   .data_dir = options_.data_dir,
                   .seed_path = options_.seed_snapshot_file,
                   .verifier = *verifier_};
  if (!options_.seal_key_file.empty()) {
    SW_TRY(feed.seal_key, SealKey::FromFile(options_.seal_key_file, /*create=*/false));
  }
  FeedHooks hooks{.on_snapshot =
                      [this](const std::shared_ptr<const Snapshot>& snapshot) {
                        server_->SetSnapshot(snapshot);
                      },
                  .journals = [this] { return shipper_->States(); }};
  SW_TRY(feed_, SnapshotFeed::Start(std::move(feed), std::move(hooks), bus_.get(), SystemClock(),
                                    marker_.get()));
  return {};
}

Result<void> DataPlane::StartLimitGossip() {
  SW_TRY(limit_gossip_, LimitGossip::Start({.instance = data_dir_->instance(),
                                            .incarnation = data_dir_->incarnation(),
                                            .fleet =
                                                [this] {
                                                  const FeedStatus status = feed_->status();
                                                  return FleetWord{.size = status.fleet_size,
                                                                   .age_ms = status.unconfirmed_ms};
                                                }},
                                           *rate_limits_, *bus_, SystemClock()));
  return {};
}

Result<void> DataPlane::StartOperators() {
  RegisterMetrics();
  SW_TRY(ops_, OpsServer::Start(options_.ops_listen,
                                {.not_ready_reason = [this] { return NotReadyReason(); },
                                 .metrics = &metrics_,
                                 .snapshot_json = [this] { return RenderJson(Status()); }}));
  return {};
}

FeedStatus DataPlane::Status() const {
  return feed_ != nullptr ? feed_->status() : files_->status();
}

std::string DataPlane::NotReadyReason() const {
  if (draining_.load(std::memory_order_relaxed)) return "draining";
  const FeedStatus status = Status();
  if (!status.ready) return status.reason.empty() ? "no configuration yet" : status.reason;
  return server_->has_snapshot() ? "" : "the configuration is being loaded";
}

void DataPlane::RegisterMetrics() {
  metrics_.Add([](MetricsText& text) {
    text.Family("spillway_build_info", "gauge", "Always 1; the version is the label.");
    text.Sample("spillway_build_info", {{"version", Version()}}, int64_t{1});
  });
  metrics_.Add([this](MetricsText& text) { telemetry_->Append(text); });
  metrics_.Add([this](MetricsText& text) { server_->Append(text); });
  metrics_.Add([this](MetricsText& text) { journal_->Collect(text); });
  metrics_.Add([this](MetricsText& text) { budgets_->Collect(text); });
  metrics_.Add([this](MetricsText& text) { rate_limits_->Collect(text); });
  if (limit_gossip_ != nullptr)
    metrics_.Add([this](MetricsText& text) { limit_gossip_->Collect(text); });
  metrics_.Add([this](MetricsText& text) { names_->Append(text); });
  if (shipper_ != nullptr) metrics_.Add([this](MetricsText& text) { shipper_->Collect(text); });
  if (lease_client_ != nullptr)
    metrics_.Add([this](MetricsText& text) { lease_client_->Collect(text); });
  metrics_.Add([this](MetricsText& text) {
    if (feed_ != nullptr) {
      feed_->AppendMetrics(text);
    } else {
      files_->AppendMetrics(text);
    }
  });
}

// Written whole or not at all: whoever waits for the file reads both lines.
Result<void> DataPlane::WritePortFile() const {
  if (options_.port_file.empty()) return {};
  const std::string draft = options_.port_file + ".new";
  std::FILE* file = std::fopen(draft.c_str(), "we");
  if (file == nullptr)
    return Fail(ErrorCode::kInvalidConfig,
                "--port-file " + options_.port_file + " cannot be written");
  std::println(file, "traffic {}\nops {}", server_->port(), ops_->port());
  const bool written =
      std::fclose(file) == 0 && std::rename(draft.c_str(), options_.port_file.c_str()) == 0;
  if (!written)
    return Fail(ErrorCode::kInvalidConfig,
                "--port-file " + options_.port_file + " cannot be written");
  return {};
}

void DataPlane::Reload() {
  if (files_ != nullptr && !files_->Reload()) log::Debug("the last good configuration stays");
  if (telemetry_->access_log() != nullptr) telemetry_->access_log()->Reopen();
}

void DataPlane::BeginDrain() {
  draining_.store(true, std::memory_order_relaxed);
  if (feed_ != nullptr) feed_->SetDraining();
  server_->BeginDrain();
}

void DataPlane::Finish() {
  server_->Stop();
  // Every attempt has ended with its frame: what is left of the budgets goes back, and the journal
  // can be closed.
  if (lease_client_ != nullptr) lease_client_->Goodbye();
  journal_->AppendClosed(budgets_->Closing());
  if (shipper_ != nullptr) {
    const Shipper::Flushed flushed = shipper_->Flush(kFlushMs);
    if (flushed.uncommitted_records > 0) {
      log::Warn("usage stays in the data-dir until this instance runs again",
                {{"records", flushed.uncommitted_records},
                 {"never_published", flushed.unshipped_records}});
    }
  }
  if (limit_gossip_ != nullptr) limit_gossip_->Stop();
  if (feed_ != nullptr) {
    feed_->Goodbye();
    feed_->Stop();
  }
  if (files_ != nullptr) files_->Stop();
  log::Info("data plane ended");
}

// After a failed start some parts are missing; the loops go before what their frames refer to.
DataPlane::~DataPlane() {
  ops_.reset();
  if (limit_gossip_ != nullptr) limit_gossip_->Stop();
  if (feed_ != nullptr) feed_->Stop();
  if (files_ != nullptr) files_->Stop();
  if (server_ != nullptr) server_->Stop();
}

}  // namespace spillway
