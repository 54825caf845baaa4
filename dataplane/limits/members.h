#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/limits/fleet_view.h"
#include "dataplane/limits/heard.h"

namespace spillway {

// The data planes that share the limits, as this one knows: who was heard lately, who is silent,
// how many there are. Thread-safe; not on the request path.
//
// The fleet is the larger of what the control plane said and of what was seen here. A member that
// is not heard any more keeps its share until the control plane counts fewer (it was retired, or
// left). Before NATS was reached for the first time nobody may know of this one: it counts itself
// on top. Messages are not signed, so nobody can do more here than shrink the share of others, and
// names are limited: what is beyond kMembersMax is not counted.
class Members {
 public:
  static constexpr int64_t kSilentNs = 500'000'000;  // five missed messages
  static constexpr size_t kMembersMax = 128;
  static constexpr int64_t kRoundMinNs = 20'000'000;

  // `cluster`: there are others, or may be.
  Members(std::string self, bool cluster, int64_t now_ns);

  struct Heard {
    uint32_t member = 0;
    uint32_t life = 0;      // counts up when it is another process, or was silent
    bool newcomer = false;  // that was so just now: it may know nothing
  };
  // nullopt: our own, an old copy, or one too many.
  std::optional<Heard> Hear(std::string_view instance, std::string_view incarnation, uint64_t sent,
                            int64_t now_ns);
  // That message of the member was applied: it may be confirmed.
  void Applied(uint32_t member, uint64_t sent);
  // Messages that were applied, per live member.
  struct Confirmation {
    std::string instance;
    std::string incarnation;
    uint64_t sent = 0;    // the newest
    uint64_t before = 0;  // bit k: the one numbered sent - 1 - k too
  };
  std::vector<Confirmation> Confirmations() const;
  // That member confirms ours.
  void Confirmed(uint32_t member, uint64_t sent, uint64_t before);

  // A whole message of that member was applied: what it took before is known. Returns the number of
  // the round: it changes when that holds for every live member.
  uint64_t Complete(uint32_t member, int64_t now_ns);
  void SetConnected(bool connected, int64_t now_ns);
  // As the control plane said at `said_ns`; 0: never.
  void SetFleetSize(int64_t size, int64_t said_ns, int64_t now_ns);
  // Finds who has fallen silent.
  void Tick(int64_t now_ns);

  // The newest; never nullptr.
  std::shared_ptr<const FleetView> view() const;
  int64_t members() const;
  // Since the longest silent live member was heard; -1: there is none.
  int64_t AgeNs(int64_t now_ns) const;

 private:
  struct Member {
    uint32_t id = 0;
    uint32_t life = 0;
    std::string incarnation;
    uint64_t sent = 0;
    int64_t heard_ns = 0;
    bool live = false;
    uint64_t completed_round = 0;
    uint64_t applied = 0;  // as Confirmation
    uint64_t applied_before = 0;
    std::vector<uint64_t> confirmed;  // our messages, by number modulo HeardByAll::kWindow
  };
  Member* Find(uint32_t member);
  bool AllConfirmed(uint64_t sent) const;
  void NoteLoss();
  void Publish();
  void DropRetired();
  bool AllComplete() const;

  const std::string self_;
  const bool cluster_;
  mutable std::mutex mutex_;
  std::map<std::string, Member, std::less<>> members_;
  std::shared_ptr<const FleetView> view_;
  std::shared_ptr<HeardByAll> heard_ = std::make_shared<HeardByAll>();
  std::shared_ptr<const HeardByAll> heard_before_;
  uint64_t joins_ = 0;
  uint64_t losses_ = 0;
  uint32_t last_id_ = 0;
  int64_t fleet_size_ = 0;  // 0: never said
  int64_t said_ns_ = 0;
  bool connected_ = false;
  bool was_connected_ = false;
  uint64_t round_ = 1;
  int64_t round_began_ns_ = 0;
};

}  // namespace spillway
