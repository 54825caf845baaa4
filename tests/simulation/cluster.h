#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/simulation/control_plane.h"
#include "tests/simulation/data_plane.h"
#include "tests/simulation/model_bus.h"
#include "tests/simulation/world.h"

namespace spillway::simulation {

struct Setup {
  uint64_t seed = 1;
  int data_planes = 3;
  Naive naive = Naive::kNone;
  Faults faults;
  int64_t requests_per_s = 40;  // of each data plane
  bool mixed_budgets = true;    // false: one exact budget without an end
};

// A whole cluster, what befalls it, and the invariants (invariants.cc) after every step.
class Cluster {
 public:
  explicit Cluster(const Setup& setup);

  // Stops early at the first violation.
  void Run(int64_t steps);
  // Ends every fault, lets everything settle, then checks what must hold of a healthy cluster: each
  // call in the ledger exactly once, and no money that nobody can have.
  void Finish();
  World& world() { return world_; }
  ControlPlane& control() { return *control_; }
  DataPlane& data_plane(int i) { return *data_planes_[i]; }
  int data_planes() const { return static_cast<int>(data_planes_.size()); }

  // Asks one data plane and runs until it is decided.
  bool Ask(int data_plane, const Wish& wish);
  // Limit less what is spent by live holders, and exposed by others.
  Nanos Left(const Key& key) const;
  Key CurrentKey(const Budget& budget, const std::string& subject) const;

 private:
  void AddBudgets(bool mixed);
  void Client(int data_plane, int64_t per_s);
  Wish RandomWish();
  void Fault();
  void RestartLater(int data_plane);
  void FaultOfDataPlane(int which, int data_plane);
  void FaultOfControlPlane(int which);
  void Edit();
  void Refill();
  void BackUp();
  size_t RecordCount() const;
  void Check(bool all);
  void CheckKey(const Key& key);
  void CheckExact(const Key& key, const Truth::Account& truth);
  void CheckRolling(const Key& key);
  void CheckHolder(const Key& key, const std::string& holder, Nanos spent);
  Nanos ExcusedOf(const Truth::Account& truth) const;
  void CheckLedger();
  void CheckNothingStarves();
  bool MoneyIsThere(const std::vector<Key>& keys, Nanos nanos) const;

  World world_;
  ModelBus bus_;
  std::vector<std::unique_ptr<DataPlane>> data_planes_;
  std::unique_ptr<ControlPlane> control_;
  std::vector<std::string> forsaken_;  // holders whose disk is gone
  bool clients_ = true;
  bool mixed_;
};

}  // namespace spillway::simulation
