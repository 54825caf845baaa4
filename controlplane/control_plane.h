#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "common/clock.h"
#include "common/crypto/sealing.h"
#include "common/crypto/signing.h"
#include "common/error.h"
#include "common/metrics.h"
#include "common/nats_bus.h"
#include "controlplane/alerts/alerts.h"
#include "controlplane/alerts/http_poster.h"
#include "controlplane/alerts/sinks.h"
#include "controlplane/api/admin_server.h"
#include "controlplane/budgets/account_charges.h"
#include "controlplane/budgets/budget_report.h"
#include "controlplane/budgets/budget_roster.h"
#include "controlplane/budgets/lease_book.h"
#include "controlplane/budgets/lease_desk.h"
#include "controlplane/ledger/consumer.h"
#include "controlplane/ledger/ledger.h"
#include "controlplane/ops_http.h"
#include "controlplane/options.h"
#include "controlplane/publish/epoch.h"
#include "controlplane/publish/fleet.h"
#include "controlplane/publish/instructions.h"
#include "controlplane/publish/publisher.h"
#include "controlplane/store/admin_tokens.h"
#include "controlplane/store/config_store.h"
#include "controlplane/store/instances.h"
#include "controlplane/store/store.h"
#include "controlplane/store/write_gate.h"
#include "controlplane/upkeep.h"

namespace spillway {

// The composition root: makes every part, wires them together, ends them in order. Parts are
// declared in the order they are made; what stands below may use what stands above.
class ControlPlane {
 public:
  // Serving when it returns, whether NATS is there or not. `on_fenced` may be called from any
  // thread: another control plane took over, the process must end.
  static Result<std::unique_ptr<ControlPlane>> Start(
      const ControlPlaneOptions& options, std::function<void(const std::string& why)> on_fenced);
  ~ControlPlane();

  // Says "not ready", lets running calls finish, publishes what was committed.
  void Drain();

 private:
  explicit ControlPlane(ControlPlaneOptions options);
  Result<void> OpenStore();
  Result<void> OpenKeys();
  Result<void> OpenBudgets();
  Result<void> OpenAlerts();
  std::unique_ptr<LeaseDesk> MakeDesk();
  Result<void> Connect(std::function<void(const std::string&)> on_fenced);
  void Wire();
  Result<void> Serve();
  Result<void> WritePortFile() const;
  api::AdminServices Services();
  void OnEpoch(int64_t epoch);
  void OnHeartbeat(const v1::Heartbeat& heartbeat);
  void OnHigherEpoch(int64_t epoch);
  Result<v1::RetireInstanceResponse> Retire(const v1::RetireInstanceRequest& request);
  // Budgets (control_plane_budgets.cc).
  using BudgetsById = std::map<std::string, v1::Budget>;
  void FollowBudgets();
  void TickBudgets();
  std::shared_ptr<const BudgetsById> Budgets() const;
  LeaseDesk::Replay ReplayState();
  void NoteUses(std::span<const BudgetUse> uses);
  void EachAccount(const std::function<void(alerts::AccountSpend)>& tell) const;
  int64_t WindowMs() const;
  api::BudgetView BudgetFigures();
  OpsHttp::Health Health() const;
  void Collect(MetricsText& text);

  const ControlPlaneOptions options_;
  const Clock& clock_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<ConfigStore> config_;
  std::unique_ptr<AdminTokens> tokens_;
  std::unique_ptr<Instances> instances_;
  std::unique_ptr<Ledger> ledger_;
  std::unique_ptr<LeaseBook> lease_book_;
  std::unique_ptr<AccountCharges> account_charges_;
  std::unique_ptr<BudgetRoster> budget_roster_;
  std::unique_ptr<BudgetReport> budget_report_;
  std::unique_ptr<WriteGate> gate_;
  std::unique_ptr<Signer> signer_;
  std::unique_ptr<Verifier> verifier_;
  std::unique_ptr<SealKey> seal_key_;
  std::unique_ptr<alerts::ConfiguredSinks> alert_sinks_;
  std::unique_ptr<alerts::HttpPoster> alert_poster_;
  std::unique_ptr<alerts::Alerts> alerts_;
  mutable std::mutex budgets_mutex_;
  std::shared_ptr<const BudgetsById> budgets_;  // shared with whoever is reading it
  std::atomic<bool> restore_noted_{false};
  MetricsRegistry metrics_;
  std::unique_ptr<NatsBus> bus_;
  std::unique_ptr<Epoch> epoch_;
  std::unique_ptr<Instructions> instructions_;
  std::unique_ptr<Fleet> fleet_;
  std::unique_ptr<LeaseDesk> lease_desk_;
  std::unique_ptr<Publisher> publisher_;
  std::mutex consumer_mutex_;                 // guards the pointer, made when the epoch is claimed
  std::shared_ptr<LedgerConsumer> consumer_;  // shared with the heartbeat that is using it
  std::atomic<int> outbid_by_heartbeats_{0};
  std::atomic<bool> draining_{false};
  std::unique_ptr<Upkeep> upkeep_;
  std::unique_ptr<api::AdminServer> admin_;
  std::unique_ptr<OpsHttp> ops_;
};

}  // namespace spillway
