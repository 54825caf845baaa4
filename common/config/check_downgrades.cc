// Downgrades that lead back to where they began would never end.
#include <format>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "common/config/findings.h"

namespace spillway::config {
namespace {

// From a route (or a model under its own name) to where something sends its requests instead.
struct Downgrade {
  size_t resource;  // that says so
  std::string_view field;
  std::string_view to;
};
using Downgrades = std::unordered_map<std::string_view, std::vector<Downgrade>>;

// A budget without a route binds its downgraded requests too and lets them pass: no way back.
Downgrades DowngradesOf(const std::vector<v1::Resource>& resources) {
  Downgrades downgrades;
  for (size_t i = 0; i < resources.size(); ++i) {
    if (resources[i].has_route()) {
      const v1::Route& route = resources[i].route();
      const std::string& to = route.limit_action().to();
      if (!to.empty()) downgrades[route.name()].push_back({i, "limit_action.downgrade.to", to});
    } else if (resources[i].has_budget()) {
      const v1::Budget& budget = resources[i].budget();
      if (budget.downgrade_to().empty() || budget.scope().route().empty()) continue;
      downgrades[budget.scope().route()].push_back(
          {i, "on_exhausted.downgrade", budget.downgrade_to()});
    }
  }
  return downgrades;
}

// Depth first with a stack of its own: a long chain must not exhaust the thread's.
class DowngradeWalk {
 public:
  DowngradeWalk(const Downgrades& downgrades, Findings& findings)
      : downgrades_(downgrades), findings_(findings) {}

  void WalkFrom(std::string_view start) {
    if (marks_.contains(start)) return;
    Enter(start);
    while (!path_.empty()) {
      Step& step = path_.back();
      const auto ways = downgrades_.find(step.name);
      if (ways == downgrades_.end() || step.next == ways->second.size()) {
        marks_[step.name] = Mark::kDone;
        path_.pop_back();
      } else {
        Follow(ways->second[step.next++]);
      }
    }
  }

 private:
  enum class Mark : uint8_t { kOnPath, kDone };
  struct Step {
    std::string_view name;
    size_t next = 0;
  };

  void Enter(std::string_view name) {
    marks_[name] = Mark::kOnPath;
    path_.push_back({.name = name});
  }

  void Follow(const Downgrade& way) {
    const auto mark = marks_.find(way.to);
    if (mark == marks_.end()) {
      Enter(way.to);
    } else if (mark->second == Mark::kOnPath) {
      findings_.Add(way.resource, std::string(way.field), way.to,
                    std::format("must not lead back to {}, from where requests come", way.to));
    }
  }

  const Downgrades& downgrades_;
  Findings& findings_;
  std::unordered_map<std::string_view, Mark> marks_;
  std::vector<Step> path_;
};

}  // namespace

void CheckDowngradeCycles(const std::vector<v1::Resource>& resources, Findings& findings) {
  const Downgrades downgrades = DowngradesOf(resources);
  DowngradeWalk walk(downgrades, findings);
  // In the order of the resources, so that the same set always gives the same findings.
  for (const v1::Resource& resource : resources) {
    if (resource.has_route()) walk.WalkFrom(resource.route().name());
    if (resource.has_budget()) walk.WalkFrom(resource.budget().scope().route());
  }
}

}  // namespace spillway::config
