#include "tests/simulation/model_bus.h"

#include <cstdlib>

namespace spillway::simulation {

v1::Account AccountOf(const Key& key) {
  v1::Account account;
  account.set_budget_id(std::get<0>(key));
  account.set_subject(std::get<1>(key));
  account.set_window_start_s(std::get<2>(key));
  return account;
}

const Budget& World::BudgetOf(const std::string& id) const {
  for (const Budget& budget : budgets) {
    if (budget.terms.id == id) return budget;
  }
  std::abort();
}

void World::Violation(const std::string& what) {
  violations.push_back("seed " + std::to_string(seed) + ", step " +
                       std::to_string(schedule.steps()) + ": " + what);
}

int64_t ModelBus::Delay() {
  if (world_.random.PerMille(world_.faults.late)) return world_.random.Between(1'000, 3'000'000);
  return world_.random.Between(150, 2'000);
}

void ModelBus::Deliver(int data_plane, const std::function<void()>& arrive) {
  world_.schedule.In(Delay(), [this, data_plane, arrive] {
    if (!cut_[data_plane]) arrive();
  });
}

void ModelBus::Send(int data_plane, const std::function<void()>& arrive) {
  if (cut_[data_plane] || world_.random.PerMille(world_.faults.loss)) return;
  Deliver(data_plane, arrive);
  if (world_.random.PerMille(world_.faults.doubling)) Deliver(data_plane, arrive);
}

}  // namespace spillway::simulation
