#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

struct sockaddr_storage;

namespace spillway {

// How many connections each client address has open (of IPv6 each /64, which one client may have
// whole). Shared by the loops; one entry per address with an open connection. Thread-safe; outlives
// what it hands out.
class AddressCounts {
 public:
  // One counted connection; gone with it.
  class Place {
   public:
    Place(AddressCounts& counts, uint64_t key) : counts_(&counts), key_(key) {}
    Place(Place&& other) noexcept
        : counts_(std::exchange(other.counts_, nullptr)), key_(other.key_) {}
    Place& operator=(Place&&) = delete;
    ~Place() {
      if (counts_ != nullptr) counts_->Release(key_);
    }

   private:
    AddressCounts* counts_;
    uint64_t key_;
  };

  // `most` per address; 0: no limit.
  explicit AddressCounts(int64_t most) : most_(most) {}
  bool limited() const { return most_ > 0; }
  // Nothing: the address has its number already, or there is no limit.
  std::optional<Place> Take(const sockaddr_storage& address);

 private:
  void Release(uint64_t key);

  const int64_t most_;
  std::mutex mutex_;
  std::unordered_map<uint64_t, int64_t> open_;
};

}  // namespace spillway
