#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/simulation/journal.h"
#include "tests/simulation/world.h"

namespace spillway::simulation {

// Between the planes: messages that may be lost, doubled, late and out of order, and a stream that
// keeps what reached it. A data plane that is cut off reaches neither.
class ModelBus {
 public:
  ModelBus(World& world, int data_planes) : world_(world), cut_(data_planes, false) {}

  // Delivers `arrive` never, once or twice. Cut links are looked at when it leaves and when it
  // comes.
  void Send(int data_plane, const std::function<void()>& arrive);
  void Cut(int data_plane, bool cut) { cut_[data_plane] = cut; }
  bool IsCut(int data_plane) const { return cut_[data_plane]; }

  struct Run {
    std::string holder;
    std::string instance;
    std::vector<Entry> entries;
  };
  std::vector<Run> stream;
  int64_t stream_identity = 1;
  void LoseStream() {
    stream.clear();
    ++stream_identity;
  }
  int64_t epoch = 0;  // the highest claimed

 private:
  int64_t Delay();
  void Deliver(int data_plane, const std::function<void()>& arrive);

  World& world_;
  std::vector<bool> cut_;
};

}  // namespace spillway::simulation
