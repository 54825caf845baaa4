#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/budgets/lease_holders.h"
#include "tests/simulation/journal.h"
#include "tests/simulation/model_bus.h"
#include "tests/simulation/world.h"

namespace spillway::simulation {

// A client's request: which accounts it falls under, and what its call would cost.
struct Wish {
  std::vector<std::pair<std::string, std::string>> budgets;  // id, subject
  Nanos likely = 0;
  Nanos upper = 0;
  Nanos actual = 0;
};

// One data plane around the real holder: its disk, its process, its calls.
class DataPlane {
 public:
  DataPlane(World& world, ModelBus& bus, int index);
  std::function<void(const v1::LeaseRequest&)> to_control;
  std::function<void()> stream_grew;
  std::function<bool(const std::vector<Key>&, Nanos)> money_is_there;  // for false refusals

  const std::string& instance() const { return instance_; }
  bool up() const { return process_ != nullptr; }
  void Start();
  void Kill() { process_.reset(); }
  void PowerCut();
  // The disk is new: returns the holders of which nobody knows any more.
  std::vector<std::string> Wipe();
  void StepClock(int64_t ms) { wall_offset_ms_ += ms; }

  // `done(admitted)` once it is decided.
  void Request(const Wish& wish, const std::function<void(bool)>& done, bool again = false);
  void OnGrant(const v1::LeaseGrant& grant);
  void OnRecall(const v1::Recall& recall);
  struct Mark {
    int64_t committed = 0;
    int64_t kept_from = 0;  // records up to it need not be kept
  };
  void OnMarks(const std::map<std::string, Mark>& marks);

  // Of its live process: what is free to spend, and what is charged and reserved.
  Nanos Free(const Key& key, const std::string& holder) const;
  Nanos Spent(const Key& key) const;
  bool IsLive(const std::string& holder) const;
  std::vector<std::string> LiveHolders() const;
  const std::vector<Journal>& journals() const { return disk_; }
  bool Quiet() const;  // everything on the disk is in the ledger

 private:
  struct Active {
    LeaseHolder* holder;
    std::vector<Need> needs;
  };
  struct Waiting {
    Wish wish;
    LeaseHolder* holder;
    std::vector<Need> needs;
    std::vector<Key> keys;
    std::function<void(bool)> done;
    bool money_was_there = false;
    bool again = false;
  };
  struct Process {
    Process(const std::string& instance, const std::string& holder, int64_t now_ns)
        : holders(instance, holder, LeaseOptions{}, now_ns) {}
    LeaseHolders holders;
    std::map<int, Active> active;
    std::map<uint64_t, Waiting> waiting;
    bool syncing = false;
    bool resending = false;
  };

  int64_t NowNs() const;
  int64_t WallMs() const { return world_.TrueWallMs() + wall_offset_ms_; }
  Journal& JournalOf(const std::string& holder);
  Journal& NewJournal();
  void Replay(Journal& journal);
  void Beat(uint64_t life);
  void Pump();
  void SendRequests();
  void Sync();
  void Ship();
  void StartCall(LeaseHolder& holder, const std::vector<Need>& needs, const std::vector<Key>& keys,
                 const Wish& wish, bool open);
  void NoteOpen(LeaseHolder& holder, const std::vector<Need>& needs, const std::vector<Key>& keys);
  void Extend(int call);
  void EndCall(int call, uint64_t life);
  void Decide(uint64_t waiter, uint64_t life);
  void Served();

  World& world_;
  ModelBus& bus_;
  int index_;
  std::string instance_;
  int64_t drift_ppm_;
  int64_t wall_offset_ms_ = 0;
  std::vector<Journal> disk_;
  int incarnations_ = 0;
  bool reuse_id_ = false;
  uint64_t life_ = 0;
  uint64_t next_waiter_ = 1;
  int64_t progress_us_ = 0;
  std::unique_ptr<Process> process_;
  std::map<std::pair<std::string, Key>, Nanos> told_returned_;  // kReturnIsAChange
};

}  // namespace spillway::simulation
