#pragma once

#include <catch2/catch_all.hpp>

#include "tests/unit/dataplane/snapshot/feed_harness.h"

namespace spillway {

// A data plane whose revision 12 (it revokes "bot" and removes "gone") crashed twice.
struct Quarantined {
  FeedHarness h;
  v1::Delta poison;

  Quarantined() {
    h.cp.PutKey("gone", "sk-gone");
    h.cp.PutKey("fine", "sk-fine");
    h.cp.Commit();
    h.cp.position.set_revision(11);
    h.StartWithState();
    h.cp.PutKey("bot", "sk-bot", /*revoked=*/true);
    h.cp.Remove(v1::KIND_KEY, "gone");
    h.cp.PutKey("new", "sk-new");
    poison = h.cp.Commit();
  }
  void CrashTwice() {
    h.Stop();
    h.LeaveCrash(12, 101);
    h.LeaveCrash(12, 102);
  }
  void CheckPrevious() const {
    REQUIRE(h.active != nullptr);
    CHECK(h.revision() == 11);
    CHECK(FindSecret(*h.active, "sk-bot")->key->revoked);
    CHECK(FindSecret(*h.active, "sk-gone")->key->revoked);
    CHECK_FALSE(FindSecret(*h.active, "sk-fine")->key->revoked);
    CHECK(FindSecret(*h.active, "sk-new") == nullptr);
    CHECK(h.status().restricted);
    CHECK(h.status().quarantined == std::vector<int64_t>{12});
  }
};

}  // namespace spillway
