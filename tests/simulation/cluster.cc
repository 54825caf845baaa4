#include "tests/simulation/cluster.h"

#include <algorithm>

namespace spillway::simulation {
namespace {

// 2026-12-01 00:00 UTC: a day, a month and an hour begin.
constexpr int64_t kMidnightMs = 1'796'083'200'000;

Budget Make(const std::string& id, Nanos limit, WindowKind window, v1::OnPartition on_partition,
            v1::OnOverrun on_overrun, int subjects = 0, int hours = 0) {
  Budget budget;
  budget.terms = {.id = id, .limit = limit, .window = window, .rolling_hours = hours};
  budget.policy = {
      .limit = limit, .on_partition = on_partition, .on_overrun = on_overrun, .window = window};
  budget.subjects = subjects;
  budget.limit_max = limit;
  return budget;
}

}  // namespace

Cluster::Cluster(const Setup& setup)
    : world_(setup.seed), bus_(world_, setup.data_planes), mixed_(setup.mixed_budgets) {
  world_.naive = setup.naive;
  world_.faults = setup.faults;
  // Half of them live through it, the others get there only when the world stood still for long.
  world_.base_wall_ms =
      kMidnightMs - world_.random.Between(1'000, setup.seed % 2 == 0 ? 30'000 : 1'800'000);
  AddBudgets(setup.mixed_budgets);
  std::vector<DataPlane*> planes;
  for (int i = 0; i < setup.data_planes; ++i) {
    data_planes_.push_back(std::make_unique<DataPlane>(world_, bus_, i));
    planes.push_back(data_planes_.back().get());
  }
  control_ = std::make_unique<ControlPlane>(world_, bus_, planes);
  for (const auto& plane : data_planes_) {
    plane->to_control = [this](const v1::LeaseRequest& request) { control_->OnRequest(request); };
    plane->stream_grew = [this] { control_->StreamGrew(); };
    plane->money_is_there = [this](const std::vector<Key>& keys, Nanos nanos) {
      return MoneyIsThere(keys, nanos);
    };
  }
  control_->Start();
  for (int i = 0; i < setup.data_planes; ++i) {
    data_planes_[i]->Start();
    if (setup.requests_per_s > 0) Client(i, setup.requests_per_s);
  }
  if (setup.faults.kills) {
    Fault();
    Refill();
  }
  if (setup.faults.restores) BackUp();
}

void Cluster::AddBudgets(bool mixed) {
  using enum WindowKind;
  auto& all = world_.budgets;
  all.push_back(Make("all", 4'000, kLifetime, v1::ON_PARTITION_LEASED, v1::ON_OVERRUN_CAP));
  if (!mixed) return;
  all.push_back(Make("day", 2'500, kDay, v1::ON_PARTITION_LEASED, v1::ON_OVERRUN_CAP));
  all.push_back(Make("user", 900, kRolling, v1::ON_PARTITION_CLOSED, v1::ON_OVERRUN_CAP, 3, 2));
  all.push_back(Make("hour", 1'200, kRolling, v1::ON_PARTITION_LEASED, v1::ON_OVERRUN_CAP, 0, 1));
  all.push_back(Make("loose", 2'500, kDay, v1::ON_PARTITION_LEASED, v1::ON_OVERRUN_FINISH));
  all.push_back(Make("open", 2'500, kMonth, v1::ON_PARTITION_OPEN, v1::ON_OVERRUN_FINISH));
  all.push_back(Make("opencap", 2'000, kDay, v1::ON_PARTITION_OPEN, v1::ON_OVERRUN_CAP, 2));
}

// --- Load.

void Cluster::Client(int data_plane, int64_t per_s) {
  const int64_t mean_us = 1'000'000 / per_s;
  world_.schedule.In(world_.random.Between(1, 2 * mean_us), [this, data_plane, per_s] {
    DataPlane& plane = *data_planes_[data_plane];
    if (clients_ && plane.up()) plane.Request(RandomWish(), [](bool) {});
    Client(data_plane, per_s);
  });
}

Wish Cluster::RandomWish() {
  Wish wish;
  const auto kinds = static_cast<int64_t>(world_.budgets.size());
  const int64_t wanted = world_.random.Between(1, std::min<int64_t>(3, kinds));
  for (int64_t i = 0; i < wanted; ++i) {
    const Budget& budget = world_.budgets[world_.random.Below(kinds)];
    const bool twice = std::ranges::any_of(
        wish.budgets, [&](const auto& named) { return named.first == budget.terms.id; });
    if (twice) continue;
    const std::string subject =
        budget.subjects == 0 ? "" : "u" + std::to_string(world_.random.Below(budget.subjects));
    wish.budgets.emplace_back(budget.terms.id, subject);
  }
  wish.likely = world_.random.Between(1, 25);
  wish.upper = wish.likely + world_.random.Between(0, 20);
  wish.actual = world_.random.Between(1, wish.upper);
  return wish;
}

// --- What befalls it.

void Cluster::RestartLater(int data_plane) {
  world_.schedule.In(world_.random.Between(50'000, 3'000'000), [this, data_plane] {
    if (!data_planes_[data_plane]->up()) data_planes_[data_plane]->Start();
  });
}

void Cluster::FaultOfDataPlane(int which, int data_plane) {
  DataPlane& plane = *data_planes_[data_plane];
  if (which == 0) {
    ++world_.figures.kills;
    plane.Kill();
  } else if (which == 1) {
    ++world_.figures.power_cuts;
    plane.PowerCut();
  } else if (which == 2) {
    ++world_.figures.wipes;
    for (const std::string& holder : plane.Wipe()) {
      forsaken_.push_back(holder);
      if (!control_->up() || control_->keeper()->gated()) world_.excused.insert(holder);
      world_.schedule.In(world_.random.Between(3'000'000, 12'000'000),
                         [this, holder] { control_->Retire(holder); });
    }
  } else if (which == 3) {
    ++world_.figures.partitions;
    bus_.Cut(data_plane, true);
    const bool long_one = world_.random.PerMille(300);
    world_.schedule.In(world_.random.Between(200'000, long_one ? 40'000'000 : 6'000'000),
                       [this, data_plane] { bus_.Cut(data_plane, false); });
    return;
  } else {
    ++world_.figures.clock_steps;
    plane.StepClock(world_.random.Between(-90'000, 90'000));
    return;
  }
  RestartLater(data_plane);
}

void Cluster::FaultOfControlPlane(int which) {
  if (which == 0) {
    ++world_.figures.kills;
    control_->Kill();
    world_.schedule.In(world_.random.Between(100'000, 4'000'000), [this] {
      if (!control_->up()) control_->Start();
    });
  } else if (which == 1) {
    ++world_.figures.clock_steps;
    control_->StepClock(world_.random.Between(-90'000, 90'000));
  } else if (which == 2) {
    Edit();
  } else if (which == 3) {
    ++world_.figures.freezes;
    world_.schedule.Freeze(world_.random.Between(1, 30) * 60'000'000);
  } else if (world_.faults.restores && control_->HasBackup()) {
    ++world_.figures.restores;
    world_.excused.insert(forsaken_.begin(), forsaken_.end());
    if (world_.random.PerMille(250)) {
      ++world_.figures.streams_lost;
      bus_.LoseStream();
    }
    control_->Restore();
  }
}

void Cluster::Fault() {
  world_.schedule.In(world_.random.Between(1, 2 * world_.faults.pause_us), [this] {
    if (!world_.faults.kills) return;
    ++world_.figures.faults;
    int64_t dice = world_.random.Below(100);
    if (world_.faults.only == Faults::Only::kPowerCuts) dice = 20;
    if (world_.faults.only == Faults::Only::kControlPlaneKills) dice = 60;
    const int data_plane = static_cast<int>(world_.random.Below(data_planes()));
    if (dice < 20)
      FaultOfDataPlane(0, data_plane);
    else if (dice < 32)
      FaultOfDataPlane(1, data_plane);
    else if (dice < 36)
      FaultOfDataPlane(2, data_plane);
    else if (dice < 56)
      FaultOfDataPlane(3, data_plane);
    else if (dice < 60)
      FaultOfDataPlane(4, data_plane);
    else if (dice < 70)
      FaultOfControlPlane(0);
    else if (dice < 74)
      FaultOfControlPlane(1);
    else if (dice < 89)
      FaultOfControlPlane(2);
    else if (dice < 92)
      FaultOfControlPlane(3);
    else
      FaultOfControlPlane(4);
    Fault();
  });
}

// Limits are edited, mostly upwards so that there is something to spend; now and then frozen.
void Cluster::Edit() {
  ++world_.figures.edits;
  Budget& budget = world_.budgets[world_.random.Below(static_cast<int64_t>(world_.budgets.size()))];
  Nanos& limit = budget.terms.limit;
  limit = world_.random.PerMille(200) ? std::max<Nanos>(500, limit - world_.random.Between(1, 500))
                                      : limit + world_.random.Between(100, 2'000);
  budget.limit_max = std::max(budget.limit_max, limit);
  budget.policy.limit = limit;
  budget.terms.frozen = world_.random.PerMille(50);
  budget.policy.frozen = budget.terms.frozen && world_.random.PerMille(500);
  control_->BudgetsChanged();
}

// Somebody raises a limit every few seconds: an exhausted cluster shows little.
void Cluster::Refill() {
  world_.schedule.In(world_.random.Between(500'000, 3'000'000), [this] {
    if (!world_.faults.kills) return;
    const auto which = world_.random.Below(static_cast<int64_t>(world_.budgets.size()));
    Budget& budget = world_.budgets[which];
    budget.terms.limit += world_.random.Between(100, 1'500);
    budget.limit_max = std::max(budget.limit_max, budget.terms.limit);
    budget.policy.limit = budget.terms.limit;
    control_->BudgetsChanged();
    Refill();
  });
}

void Cluster::BackUp() {
  world_.schedule.In(world_.random.Between(1'000'000, 9'000'000), [this] {
    control_->Backup();
    BackUp();
  });
}

// --- Running.

void Cluster::Run(int64_t steps) {
  const int64_t end = world_.schedule.steps() + steps;
  while (world_.schedule.steps() < end && world_.violations.empty()) {
    world_.touched.clear();
    world_.touched_all = world_.schedule.steps() % 256 == 0;
    world_.schedule.Step();
    Check(world_.touched_all);
  }
}

size_t Cluster::RecordCount() const {
  size_t records = 0;
  for (const auto& plane : data_planes_) {
    for (const Journal& journal : plane->journals()) records += journal.entries.size();
  }
  return records;
}

bool Cluster::Ask(int data_plane, const Wish& wish) {
  bool decided = false;
  bool admitted = false;
  data_planes_[data_plane]->Request(wish, [&](bool yes) {
    decided = true;
    admitted = yes;
  });
  while (!decided && world_.violations.empty()) Run(1);
  return admitted;
}

void Cluster::Finish() {
  world_.faults = {};
  clients_ = false;
  for (int i = 0; i < data_planes(); ++i) bus_.Cut(i, false);
  if (!control_->up()) control_->Start();
  for (const auto& plane : data_planes_) {
    if (!plane->up()) plane->Start();
  }
  for (Budget& budget : world_.budgets) budget.terms.frozen = budget.policy.frozen = false;
  control_->BudgetsChanged();
  const int64_t until = world_.schedule.now_us() + 60'000'000;
  while (world_.schedule.now_us() < until && world_.violations.empty()) Run(1);
  for (const std::string& holder : forsaken_) control_->Retire(holder);
  const int64_t end = world_.schedule.now_us() + 30'000'000;
  while (world_.schedule.now_us() < end && world_.violations.empty()) Run(1);
  // Nobody asks for anything: nothing moves any more.
  const size_t records = RecordCount();
  const int64_t still = world_.schedule.now_us() + 10'000'000;
  while (world_.schedule.now_us() < still && world_.violations.empty()) Run(1);
  if (RecordCount() != records) world_.Violation("leases move without demand");
  if (!world_.violations.empty()) return;
  CheckLedger();
  CheckNothingStarves();
  const int64_t last = world_.schedule.now_us() + 20'000'000;  // the calls of that end
  while (world_.schedule.now_us() < last && world_.violations.empty()) Run(1);
  Check(true);
}

}  // namespace spillway::simulation
