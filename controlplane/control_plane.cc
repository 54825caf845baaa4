#include "controlplane/control_plane.h"

#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <utility>

#include "common/log.h"
#include "common/settings.h"
#include "controlplane/budgets/restore_note.h"

namespace spillway {
namespace {

constexpr int64_t kClaimFirstMs = 1'000;
constexpr int64_t kPublishLastMs = 2'000;
// Heartbeats are not signed: a data plane that lies cannot keep us claiming for ever.
constexpr int kOutbidByHeartbeatsMax = 16;

}  // namespace

ControlPlane::ControlPlane(ControlPlaneOptions options)
    : options_(std::move(options)), clock_(SystemClock()) {}

Result<std::unique_ptr<ControlPlane>> ControlPlane::Start(
    const ControlPlaneOptions& options, std::function<void(const std::string&)> on_fenced) {
  std::unique_ptr<ControlPlane> plane(new ControlPlane(options));
  SW_CHECK(plane->OpenStore());
  SW_CHECK(plane->OpenKeys());
  SW_CHECK(plane->OpenBudgets());
  SW_CHECK(plane->OpenAlerts());
  SW_CHECK(plane->Connect(std::move(on_fenced)));
  plane->Wire();
  SW_CHECK(plane->Serve());
  return plane;
}

Result<void> ControlPlane::OpenStore() {
  std::error_code failed;
  std::filesystem::create_directories(options_.data_dir, failed);
  if (failed) {
    return Fail(ErrorCode::kUnavailable,
                "--data-dir: " + options_.data_dir + " cannot be made: " + failed.message());
  }
  chmod(options_.data_dir.c_str(), 0700);
  SW_CHECK(RefuseHalfRestored(options_.data_dir, options_.StorePath()));
  SW_TRY(store_,
         Store::Open({.path = options_.StorePath(), .disk_bytes_max = options_.store_bytes_max}));
  Store::DropUnfinishedBackups(options_.backup_dir);
  SW_TRY(config_, ConfigStore::Open(*store_));
  SW_TRY(tokens_, AdminTokens::Open(*store_));
  SW_TRY(instances_, Instances::Open(*store_));
  SW_TRY(ledger_, Ledger::Open(*store_, {.retention_days = options_.usage_retention_days,
                                         .backups = options_.backup_every_ms > 0}));
  gate_ = std::make_unique<WriteGate>(*store_);
  return {};
}

Result<void> ControlPlane::OpenKeys() {
  SW_TRY(Signer signer, Signer::FromFile(options_.signing_key_file, true));
  signer_ = std::make_unique<Signer>(std::move(signer));
  SW_TRY(Verifier verifier, Verifier::FromFile(options_.signing_key_file + ".pub"));
  verifier_ = std::make_unique<Verifier>(std::move(verifier));
  SW_TRY(SealKey seal_key, SealKey::FromFile(options_.seal_key_file, true));
  seal_key_ = std::make_unique<SealKey>(std::move(seal_key));
  SW_TRY(const bool first, tokens_->Bootstrap(options_.admin_token_file, clock_.WallMs()));
  if (first) log::Info("first admin token", {{"file", options_.admin_token_file}});
  return {};
}

Result<void> ControlPlane::Connect(std::function<void(const std::string&)> on_fenced) {
  SW_TRY(bus_, NatsBus::Open(options_.nats));
  epoch_ = std::make_unique<Epoch>(*bus_, *store_, *gate_, std::move(on_fenced));
  instructions_ = std::make_unique<Instructions>(*bus_, *signer_, *epoch_);
  fleet_ = std::make_unique<Fleet>(*bus_, *instances_, clock_);
  lease_desk_ = MakeDesk();
  Publisher::Options publishing;
  publishing.restore = options_.restore_choice;
  publishing.limits = options_.streams;
  publisher_ =
      std::make_unique<Publisher>(Publisher::Parts{.bus = *bus_,
                                                   .config = *config_,
                                                   .epoch = *epoch_,
                                                   .gate = *gate_,
                                                   .signer = *signer_,
                                                   .verifier = *verifier_,
                                                   .clock = clock_,
                                                   .fleet_size = [this] { return fleet_->size(); }},
                                  publishing);
  return {};
}

void ControlPlane::Wire() {
  metrics_.Add([this](MetricsText& text) { Collect(text); });
  config_->OnCommit([this](const CommittedRevision& revision) {
    // Before any data plane hears of it: what a new budget starts with is counted by then.
    if (BudgetRoster::Concerns(revision)) FollowBudgets();
    fleet_->NoteCommitted(revision.position.revision());
    publisher_->Notify(revision);
  });
  epoch_->OnClaimed([this](int64_t epoch) { OnEpoch(epoch); });
  fleet_->OnHeartbeat([this](const v1::Heartbeat& heartbeat) { OnHeartbeat(heartbeat); });
  bus_->OnConnected([this] { publisher_->Stir(); });
}

// The ledger reads the stream only under a claimed epoch. A second claim of the same process keeps
// the consumer: its marks are signed with the epoch of the moment.
void ControlPlane::OnEpoch(int64_t epoch) {
  lease_desk_->Begin(epoch);
  const std::lock_guard lock(consumer_mutex_);
  if (consumer_ != nullptr) return;
  LedgerConsumerOptions consuming;
  consuming.epoch = epoch;
  consuming.stream_bytes_max = options_.streams.usage_bytes_max;
  consumer_ = std::make_shared<LedgerConsumer>(
      *bus_, *ledger_, clock_, consuming, [this](v1::Instruction instruction) {
        // Lost ones are made good by the next heartbeat.
        if (const auto sent = instructions_->Send(std::move(instruction)); !sent) {
          log::Debug("instruction not sent", {{"error", sent.error().message}});
        }
      });
}

void ControlPlane::OnHigherEpoch(int64_t heard) {
  const int64_t epoch = epoch_->value();
  if (epoch == 0 || heard <= epoch || outbid_by_heartbeats_.fetch_add(1) >= kOutbidByHeartbeatsMax)
    return;
  epoch_->Observe(heard);
  if (epoch_->Outbid()) publisher_->Stir();
}

void ControlPlane::OnHeartbeat(const v1::Heartbeat& heartbeat) {
  OnHigherEpoch(heartbeat.epoch());
  std::shared_ptr<LedgerConsumer> consumer;
  {
    const std::lock_guard lock(consumer_mutex_);
    consumer = consumer_;
  }
  if (consumer != nullptr) consumer->OnHeartbeat(heartbeat);
}

Result<v1::RetireInstanceResponse> ControlPlane::Retire(const v1::RetireInstanceRequest& request) {
  const std::string& instance = request.instance();
  const auto commit = [&](WriteBatch batch) {
    return instances_->Retire(instance, clock_.WallMs(), std::move(batch));
  };
  SW_TRY(auto response, ledger_->Retire(instance, commit, request.free_leases()));
  const std::lock_guard lock(consumer_mutex_);
  if (consumer_ != nullptr) consumer_->OnRetired(instance);
  return response;
}

api::AdminServices ControlPlane::Services() {
  return {.config = *config_,
          .tokens = *tokens_,
          .ledger = *ledger_,
          .seal_key = *seal_key_,
          .clock = clock_,
          .epoch = [this] { return epoch_->value(); },
          .may_write = [this] { return gate_->Check(); },
          .fleet = {.list = [this] { return fleet_->List(config_->position().revision()); },
                    .wait_active =
                        [this](int64_t revision, int64_t timeout_ms, const auto& cancelled) {
                          return fleet_->WaitActive(revision, timeout_ms, cancelled);
                        },
                    .retire = [this](const auto& request) { return Retire(request); }},
          .backups_path = options_.backup_dir,
          .alerts = {.list = [this](const auto& request) { return alerts_->List(request); },
                     .test = [this](const auto& request) { return alerts_->Test(request); }},
          .budgets = BudgetFigures()};
}

Result<void> ControlPlane::Serve() {
  SW_CHECK(fleet_->Start());
  SW_CHECK(lease_desk_->Start());
  alerts_->Start();
  publisher_->Start();
  // With NATS there, who calls as soon as the port answers finds changes accepted.
  publisher_->WaitCompared(kClaimFirstMs);
  SW_TRY(admin_, api::AdminServer::Create(options_.admin, Services()));
  SW_TRY(ops_, OpsHttp::Start({.listen = options_.ops_listen,
                               .health = [this] { return Health(); },
                               .metrics = &metrics_}));
  upkeep_ = std::make_unique<Upkeep>(*ledger_, clock_,
                                     Upkeep::Options{.backup_dir = options_.backup_dir,
                                                     .backup_every_ms = options_.backup_every_ms,
                                                     .backups_kept = options_.backups_kept});
  upkeep_->Start();
  log::Info("control plane is up", {{"grpc_port", admin_->port()},
                                    {"ops_port", ops_->port()},
                                    {"revision", config_->position().revision()},
                                    {"cluster", config_->cluster_id()},
                                    {"version", Version()}});
  return WritePortFile();
}

Result<void> ControlPlane::WritePortFile() const {
  if (options_.port_file.empty()) return {};
  const std::string unfinished = options_.port_file + ".part";
  std::ofstream file(unfinished, std::ios::trunc);
  file << "grpc " << admin_->port() << "\nops " << ops_->port() << "\n";
  file.close();
  std::error_code failed;
  if (file) std::filesystem::rename(unfinished, options_.port_file, failed);
  if (!file || failed) {
    return Fail(ErrorCode::kUnavailable,
                "--port-file: " + options_.port_file + " cannot be written");
  }
  return {};
}

OpsHttp::Health ControlPlane::Health() const {
  if (draining_) return {.ready = false, .writable = false, .why = "draining"};
  const auto writable = gate_->Check();
  return {.ready = true,
          .writable = writable.has_value(),
          .why = writable ? "" : writable.error().message};
}

void ControlPlane::Drain() {
  draining_ = true;
  admin_->Shutdown(options_.drain_timeout_ms);
  if (bus_->state() == BusState::kConnected && gate_->Check()) {
    publisher_->WaitPublished(config_->position().revision(), kPublishLastMs);
  }
}

ControlPlane::~ControlPlane() {
  // From the outside in: no caller, then nothing that commits, then nothing that listens.
  if (admin_ != nullptr) admin_->Shutdown(0);
  admin_.reset();
  ops_.reset();
  upkeep_.reset();
  if (publisher_ != nullptr) publisher_->Stop();
  if (fleet_ != nullptr) fleet_->Stop();
  {
    const std::lock_guard lock(consumer_mutex_);
    consumer_.reset();
  }
  if (config_ != nullptr) config_->OnCommit({});
  lease_desk_.reset();
  alerts_.reset();
  epoch_.reset();
  // Its callbacks reach the publisher: gone before it.
  bus_.reset();
}

}  // namespace spillway
