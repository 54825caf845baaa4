#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controlplane/budgets/lease_keeper.h"
#include "tests/simulation/data_plane.h"
#include "tests/simulation/model_bus.h"
#include "tests/simulation/world.h"

namespace spillway::simulation {

// What the ledger knows, as the model needs it.
struct Ledger {
  struct Seen {
    int64_t upto = 0;  // every record up to it is applied
    std::set<int64_t> above;
  };
  struct Charge {
    Nanos nanos = 0;
    bool finished = false;  // not an estimate
  };
  struct Open {
    std::string holder;
    std::vector<Key> keys;
    Nanos reserved = 0;
  };
  std::map<std::string, Seen> seen;
  std::map<int, Charge> charges;  // by call
  std::map<int, Open> open;
  std::set<std::string> retired;
  int64_t stream_identity = 1;
  size_t position = 0;
};

// The control plane around the real keeper: its disk, its process, its ledger.
class ControlPlane {
 public:
  ControlPlane(World& world, ModelBus& bus, std::vector<DataPlane*> data_planes)
      : world_(world), bus_(bus), data_planes_(std::move(data_planes)) {}

  bool up() const { return process_ != nullptr; }
  void Start() { Begin(false, false); }
  void Kill() { process_.reset(); }
  void Backup() { backup_ = disk_; }
  bool HasBackup() const { return backup_.has_value(); }
  void Restore();  // the disk is the last backup's; starts
  void StepClock(int64_t ms) { wall_offset_ms_ += ms; }
  void BudgetsChanged();
  void Retire(const std::string& holder);
  void StreamGrew();
  void OnRequest(v1::LeaseRequest request);

  const LeaseKeeper* keeper() const { return up() ? &process_->keeper : nullptr; }
  const Ledger& ledger() const { return disk_.ledger; }
  bool GateCovers(const Key& key) const;
  Nanos ExposureOf(const Key& key, const std::string& holder) const;
  // Exposure in this window by holders for which `counts`.
  Nanos ExposureOf(const Key& key, const std::function<bool(const std::string&)>& counts) const;

 private:
  using RowKey = std::pair<Key, std::string>;
  struct Disk {
    std::map<RowKey, LeaseAccountRow> accounts;
    std::map<std::string, LeaseHolderRow> holders;
    LeaseKeeperRow keeper;
    Ledger ledger;
  };
  struct Process {
    LeaseKeeper keeper;
    int64_t epoch = 0;
    std::vector<LeaseEffects> unsynced;
    bool flushing = false;
    bool consuming = false;
    bool replaying = false;
    std::map<std::string, int64_t> heard_us;
    std::map<RowKey, LeaseAccountRow> seen;  // rows as of the last effects
    std::map<RowKey, Nanos> returned_sum;    // kReturnIsAChange
  };

  void Begin(bool restored, bool stream_damaged);
  void Advance();
  void Collect();
  void Flush();
  void Persist(const LeaseEffects& effects);
  void Send(const LeaseEffects& effects);
  void CheckGrants(const v1::LeaseRequest& request, const LeaseEffects& effects);
  void Consume();
  void Apply(const ModelBus::Run& run, const Entry& entry);
  void Charge(int call, const std::string& holder, const std::vector<Key>& keys, Nanos nanos,
              bool finished);
  void Beat(uint64_t life);
  void TellMarks();

  World& world_;
  ModelBus& bus_;
  std::vector<DataPlane*> data_planes_;
  Disk disk_;
  std::optional<Disk> backup_;
  int64_t wall_offset_ms_ = 0;
  uint64_t life_ = 0;
  std::unique_ptr<Process> process_;
};

}  // namespace spillway::simulation
