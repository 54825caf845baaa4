// Fallbacks that lead back to where they began would never end.
#include <format>
#include <string_view>
#include <unordered_map>

#include "common/config/findings.h"

namespace spillway::config {
namespace {

// A walk along fallbacks, depth first, with a stack of its own: a long chain must not exhaust the
// thread's. A fallback's name means a route when there is one, else a model, as in a request.
class FallbackWalk {
 public:
  FallbackWalk(const std::vector<v1::Resource>& resources, Findings& findings)
      : resources_(resources), findings_(findings), marks_(resources.size(), Mark::kNew) {
    for (size_t i = 0; i < resources.size(); ++i) {
      if (resources[i].has_route()) routes_.try_emplace(resources[i].route().name(), i);
    }
  }

  void Run() {
    for (size_t i = 0; i < resources_.size(); ++i) {
      if (resources_[i].has_route() && marks_[i] == Mark::kNew) WalkFrom(i);
    }
  }

 private:
  enum class Mark : uint8_t { kNew, kOnPath, kDone };
  struct Step {
    size_t index;
    int next = 0;  // fallback to look at
  };

  const v1::Route& RouteAt(size_t index) const { return resources_[index].route(); }

  void WalkFrom(size_t start) {
    Enter(start);
    while (!path_.empty()) {
      Step& step = path_.back();
      if (step.next == RouteAt(step.index).fallbacks_size()) {
        marks_[step.index] = Mark::kDone;
        path_.pop_back();
        continue;
      }
      Follow(step.index, step.next++);
    }
  }

  void Enter(size_t index) {
    marks_[index] = Mark::kOnPath;
    path_.push_back({.index = index});
  }

  void Follow(size_t from, int fallback) {
    const auto found = routes_.find(RouteAt(from).fallbacks(fallback));
    if (found == routes_.end()) return;
    if (marks_[found->second] == Mark::kNew)
      Enter(found->second);
    else if (marks_[found->second] == Mark::kOnPath)
      Report(from, fallback, found->second);
  }

  void Report(size_t from, int fallback, size_t target) {
    constexpr size_t kNamesMax = 10;
    size_t start = path_.size();
    while (path_[start - 1].index != target) --start;
    std::string cycle;
    for (size_t i = start - 1; i < path_.size(); ++i) {
      const bool skipped = i >= start - 1 + kNamesMax;
      cycle += skipped ? "... -> " : RouteAt(path_[i].index).name() + " -> ";
      if (skipped) break;
    }
    findings_.Add(from, std::format("fallbacks[{}]", fallback), RouteAt(from).fallbacks(fallback),
                  "must not lead back: " + cycle + RouteAt(target).name());
  }

  const std::vector<v1::Resource>& resources_;
  Findings& findings_;
  std::vector<Mark> marks_;
  std::unordered_map<std::string_view, size_t> routes_;
  std::vector<Step> path_;
};

}  // namespace

void CheckFallbackCycles(const std::vector<v1::Resource>& resources, Findings& findings) {
  FallbackWalk(resources, findings).Run();
}

}  // namespace spillway::config
