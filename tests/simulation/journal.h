#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/simulation/world.h"

namespace spillway::simulation {

// A record of the journal, as the model needs it.
struct Entry {
  enum class Kind : uint8_t { kHello, kStarted, kFinished, kLevel, kAbandoned, kClosed };
  Kind kind = Kind::kHello;
  int64_t seq = 0;
  int call = -1;
  std::vector<Key> keys;
  Nanos nanos = 0;               // reserved, or the charge
  Nanos likely = 0;              // kStarted: what it will likely cost
  Nanos granted = 0;             // kLevel, of keys[0]
  Nanos returned = 0;            // kLevel
  std::map<Key, Nanos> charges;  // kClosed
};

// One incarnation's journal on a data plane's disk.
struct Journal {
  std::string holder;
  std::vector<Entry> entries;  // seq = index + 1
  size_t synced = 0;           // survives a power cut
  size_t shipped = 0;          // acknowledged by the stream
  int64_t committed = 0;       // in the ledger, as last heard
  int64_t freed = 0;           // no more kept for sending again
  bool cut = false;            // a power cut may have taken records
  bool closed = false;

  Entry& Append(Entry entry) {
    entry.seq = static_cast<int64_t>(entries.size()) + 1;
    entries.push_back(std::move(entry));
    return entries.back();
  }
};

}  // namespace spillway::simulation
