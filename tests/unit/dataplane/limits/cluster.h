#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "common/clock.h"
#include "dataplane/limits/gossip_core.h"
#include "dataplane/limits/limits.h"
#include "dataplane/limits/rep.h"
#include "tests/unit/dataplane/limits/specs.h"

namespace spillway {

// Data planes and a network between them, in steps of a millisecond, from a seed.
class LimitCluster {
 public:
  struct Network {
    int64_t delay_ms_max = 2;  // 1..this, each message by itself: they overtake each other
    int loss_percent = 0;
    int twice_percent = 0;
  };

  LimitCluster(int nodes, Network network, uint64_t seed = 1)
      : network_(network), random_(static_cast<std::minstd_rand::result_type>(seed)) {
    for (int i = 0; i < nodes; ++i) Add();
    for (int i = 0; i < nodes; ++i) Connect(i, true);
    SetFleetSize(nodes);
    Run(1'000, [](int64_t) {});  // they hear of each other
  }

  int Add() {
    auto node = std::make_unique<Node>();
    node->limits = std::make_unique<RateLimits>(RateLimitOptions{.cluster = true}, clock_);
    node->core = std::make_unique<GossipCore>(*node->limits, "dp" + std::to_string(nodes_.size()),
                                              "i" + std::to_string(++lives_), now_ns());
    node->tick_ms = 13 + 29 * static_cast<int64_t>(nodes_.size());
    nodes_.push_back(std::move(node));
    return static_cast<int>(nodes_.size()) - 1;
  }
  // The process is replaced by another that knows nothing.
  void Restart(int i) {
    Node& node = *nodes_[static_cast<size_t>(i)];
    node.core.reset();
    node.limits = std::make_unique<RateLimits>(RateLimitOptions{.cluster = true}, clock_);
    node.core = std::make_unique<GossipCore>(*node.limits, "dp" + std::to_string(i),
                                             "i" + std::to_string(++lives_), now_ns());
    node.core->SetConnected(node.connected, now_ns());
    node.core->SetFleetSize(fleet_size_, now_ns(), now_ns());
  }
  void Connect(int i, bool connected) {
    nodes_[static_cast<size_t>(i)]->connected = connected;
    nodes_[static_cast<size_t>(i)]->core->SetConnected(connected, now_ns());
  }
  // Its messages are lost, both ways, and nobody is told.
  void Isolate(int i, bool isolated) { nodes_[static_cast<size_t>(i)]->isolated = isolated; }
  void SetFleetSize(int64_t size) {
    fleet_size_ = size;
    for (auto& node : nodes_) node->core->SetFleetSize(size, now_ns(), now_ns());
  }
  RateLimits& limits(int i) { return *nodes_[static_cast<size_t>(i)]->limits; }
  GossipCore& core(int i) { return *nodes_[static_cast<size_t>(i)]->core; }
  size_t size() const { return nodes_.size(); }
  int64_t now_ns() const { return clock_.MonotonicNs(); }
  int64_t now_ms() const { return now_ns() / 1'000'000; }
  std::minstd_rand& random() { return random_; }

  // How many of `offered` requests pass at that data plane now.
  int64_t Serve(int i, const std::vector<RateLimitMatch>& matches, int offered, LimitAsk ask = {}) {
    int64_t served = 0;
    for (int n = 0; n < offered; ++n) {
      LimitOutcome outcome = limits(i).Admit(matches, ask, now_ns());
      if (!outcome) return served;
      outcome->Settle(ask);
      ++served;
    }
    return served;
  }

  void Run(int64_t ms, const std::function<void(int64_t ms)>& each) {
    for (int64_t at = 0; at < ms; ++at) {
      each(at);
      for (size_t i = 0; i < nodes_.size(); ++i) Gossip(i);
      clock_.AdvanceMs(1);
      Deliver();
    }
  }

 private:
  struct Node {
    std::unique_ptr<RateLimits> limits;
    std::unique_ptr<GossipCore> core;
    bool connected = false;
    bool isolated = false;
    int64_t tick_ms = 0;
  };
  struct Letter {
    size_t from;
    int64_t due_ms;
    std::string bytes;
  };

  void Gossip(size_t i) {
    Node& node = *nodes_[i];
    const bool urgent = node.limits->rep().table.AwaitUrgent(0);
    if (now_ms() % 100 == node.tick_ms % 100) {
      Send(i, node.core->Tick(now_ns()));
    } else if (urgent && node.connected) {
      Send(i, node.core->Urgent(now_ns()));
    }
  }
  void Send(size_t i, const std::vector<std::string>& messages) {
    for (const std::string& bytes : messages) {
      if (!nodes_[i]->connected || Percent() < network_.loss_percent) continue;
      const int copies = Percent() < network_.twice_percent ? 2 : 1;
      for (int n = 0; n < copies; ++n) {
        const int64_t delay_ms =
            1 + static_cast<int64_t>(random_() % static_cast<uint64_t>(network_.delay_ms_max));
        letters_.push_back({.from = i, .due_ms = now_ms() + delay_ms, .bytes = bytes});
      }
    }
  }
  void Deliver() {
    for (size_t n = letters_.size(); n > 0; --n) {
      Letter letter = std::move(letters_.front());
      letters_.pop_front();
      if (letter.due_ms > now_ms()) {
        letters_.push_back(std::move(letter));
        continue;
      }
      for (size_t i = 0; i < nodes_.size(); ++i) {
        if (Reaches(letter.from, i)) nodes_[i]->core->Receive(letter.bytes, now_ns());
      }
    }
  }
  // Its own come back too.
  bool Reaches(size_t from, size_t to) const {
    const bool cut = from != to && (nodes_[from]->isolated || nodes_[to]->isolated);
    return nodes_[from]->connected && nodes_[to]->connected && !cut;
  }
  int Percent() { return static_cast<int>(random_() / 7 % 100); }

  const Network network_;
  std::minstd_rand random_;
  ManualClock clock_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::deque<Letter> letters_;
  int64_t fleet_size_ = 0;
  int lives_ = 0;
};

}  // namespace spillway
