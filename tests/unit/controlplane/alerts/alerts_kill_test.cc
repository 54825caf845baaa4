// kill -9 between deciding and delivering: the alert is delivered by the next life, with its id,
// and once only from then on.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "tests/unit/controlplane/alerts/alerts_world.h"

namespace spillway::alerts {
namespace {

// Tells the alert's id, then dies before any answer can be kept.
class DyingPoster final : public Poster {
 public:
  explicit DyingPoster(int fd) : fd_(fd) {}
  Result<int> Post(const SinkPost& post) override {
    const std::string& id = post.headers.front().second;
    if (write(fd_, id.data(), id.size()) != static_cast<ssize_t>(id.size())) _exit(3);
    kill(getpid(), SIGKILL);
    return 200;
  }

 private:
  const int fd_;
};

AccountSpend HalfSpent(const ManualClock& clock) {
  return {.budget_id = "b1",
          .budget = "support",
          .subject = "",
          .window_start_ms = clock.WallMs(),
          .window_end_ms = clock.WallMs() + kDayMs,
          .settled = 5 * kUsd,
          .limit = 10 * kUsd,
          .thresholds = {50},
          .notify = {},
          .frozen = false};
}

auto OpenAlerts(Store& store, const Clock& clock, FakeSinks& sinks, Poster& poster) {
  return Alerts::Open({.store = store,
                       .clock = clock,
                       .sinks = sinks,
                       .poster = poster,
                       .accounts = {},
                       .window_ms = [&clock] { return clock.WallMs(); }},
                      {});
}

[[noreturn]] void DieDelivering(const std::string& path, int fd) {
  auto store = Store::Open({.path = path});
  if (!store) _exit(1);
  ManualClock clock;
  FakeSinks sinks;
  DyingPoster poster(fd);
  auto alerts = OpenAlerts(**store, clock, sinks, poster);
  if (!alerts) _exit(2);
  (*alerts)->Note(HalfSpent(clock));
  (*alerts)->Turn();
  _exit(0);
}

TEST_CASE("an alert that was decided survives kill -9 before its delivery was kept") {
  const TempFolder folder;
  std::vector<std::string> ids;
  // Twice: the second life finds it pending and dies delivering it, too.
  for (int life = 0; life < 2; ++life) {
    int fds[2];
    REQUIRE(pipe(fds) == 0);
    const pid_t child = fork();
    if (child == 0) DieDelivering(folder.Path("db"), fds[1]);
    close(fds[1]);
    std::string id(32, '\0');
    REQUIRE(read(fds[0], id.data(), id.size()) == 32);
    close(fds[0]);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    ids.push_back(id);
  }
  CHECK(ids[0] == ids[1]);
  auto store = Store::Open({.path = folder.Path("db")});
  REQUIRE(store.has_value());
  ManualClock clock;
  FakeSinks sinks;
  FakePoster poster;
  auto alerts = OpenAlerts(**store, clock, sinks, poster);
  REQUIRE(alerts.has_value());
  for (int i = 0; i < 3; ++i) {
    (*alerts)->Note(HalfSpent(clock));
    (*alerts)->Turn();
  }
  REQUIRE(poster.taken.size() == 1);
  CHECK(poster.Ids()[0] == ids[0]);
}

}  // namespace
}  // namespace spillway::alerts
