#include "dataplane/exchange/timer_wheel.h"

#include <catch2/catch_all.hpp>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/exchange/loop.h"
#include "dataplane/exchange/request.h"

namespace spillway {
namespace {

// Moved by hand; the wheel's own timer never runs in these tests.
class HandClock final : public Clock {
 public:
  int64_t WallMs() const override { return now_ns_ / 1'000'000; }
  int64_t MonotonicNs() const override { return now_ns_; }
  void AdvanceMs(int64_t ms) { now_ns_ += ms * 1'000'000; }

 private:
  int64_t now_ns_ = 5'000'000'000;
};

struct Bench {
  HandClock clock;
  Loop loop{clock};
  TimerWheel& wheel = *loop.timers;

  // Steps of at most one tick, as the loop's timer would.
  void RunMs(int64_t ms) {
    for (int64_t done = 0; done < ms; done += 5) {
      clock.AdvanceMs(5);
      wheel.Advance();
    }
  }
};

TEST_CASE("a deadline fires once, not early and at most two ticks late") {
  const int64_t after_ms =
      GENERATE(0, 1, 9, 10, 11, 25, 100, 999, 5'110, 5'120, 5'130, 20'000, 75'000);
  CAPTURE(after_ms);
  Bench bench;
  int fired = 0;
  Deadline deadline(bench.wheel, [&fired] { ++fired; });
  deadline.SetAfterMs(after_ms);
  if (after_ms >= 5) {
    bench.RunMs((after_ms - 1) / 5 * 5);
    CHECK(fired == 0);
  }
  bench.RunMs(30);
  CHECK(fired == 1);
  bench.RunMs(6'000);
  CHECK(fired == 1);
}

TEST_CASE("moving a deadline later delays it, moving it earlier hastens it") {
  Bench bench;
  int fired = 0;
  Deadline deadline(bench.wheel, [&fired] { ++fired; });
  deadline.SetAfterMs(100);
  bench.RunMs(50);
  deadline.SetAfterMs(1'000);
  bench.RunMs(900);
  CHECK(fired == 0);
  deadline.SetAfterMs(20);
  bench.RunMs(40);
  CHECK(fired == 1);
}

TEST_CASE("a cleared or destroyed deadline never fires") {
  Bench bench;
  int fired = 0;
  Deadline cleared(bench.wheel, [&fired] { ++fired; });
  cleared.SetAfterMs(50);
  auto destroyed = std::make_unique<Deadline>(bench.wheel, [&fired] { ++fired; });
  destroyed->SetAfterMs(50);
  bench.RunMs(20);
  cleared.Clear();
  destroyed.reset();
  bench.RunMs(6'000);
  CHECK(fired == 0);
  cleared.SetAfterMs(10);
  bench.RunMs(30);
  CHECK(fired == 1);
}

TEST_CASE("a callback may set its own deadline again and destroy others of its slot") {
  Bench bench;
  int periodic_count = 0;
  std::unique_ptr<Deadline> periodic;
  periodic = std::make_unique<Deadline>(bench.wheel, [&] {
    ++periodic_count;
    periodic->SetAfterMs(100);
  });
  periodic->SetAfterMs(100);
  bench.RunMs(1'100);
  CHECK(periodic_count >= 9);
  CHECK(periodic_count <= 11);

  int killers = 0;
  std::vector<std::unique_ptr<Deadline>> victims(3);
  // Every one of the slot destroys the others: only the first to run survives.
  for (size_t i = 0; i < victims.size(); ++i) {
    victims[i] = std::make_unique<Deadline>(bench.wheel, [&, i] {
      ++killers;
      for (size_t other = 0; other < victims.size(); ++other) {
        if (other != i) victims[other].reset();
      }
    });
    victims[i]->SetAfterMs(50);
  }
  bench.RunMs(200);
  CHECK(killers == 1);
}

TEST_CASE("after a long stop of the loop everything overdue fires at once") {
  Bench bench;
  int fired = 0;
  std::vector<std::unique_ptr<Deadline>> deadlines;
  for (int i = 0; i < 1'000; ++i) {
    deadlines.push_back(std::make_unique<Deadline>(bench.wheel, [&fired] { ++fired; }));
    deadlines.back()->SetAfterMs(i * 37 % 20'000);
  }
  bench.clock.AdvanceMs(60'000);
  bench.wheel.Advance();
  CHECK(fired == 1'000);
}

TEST_CASE("many deadlines keep their order of time within a tick") {
  Bench bench;
  std::vector<int64_t> fired_at;
  std::vector<std::unique_ptr<Deadline>> deadlines;
  const int64_t start = bench.clock.MonotonicNs();
  for (const int64_t ms : {700, 20, 7'000, 300, 5'120, 40, 12'345}) {
    deadlines.push_back(std::make_unique<Deadline>(bench.wheel, [&bench, &fired_at, start] {
      fired_at.push_back((bench.clock.MonotonicNs() - start) / 1'000'000);
    }));
    deadlines.back()->SetAfterMs(ms);
  }
  bench.RunMs(13'000);
  const std::vector<int64_t> want = {20, 40, 300, 700, 5'120, 7'000, 12'345};
  REQUIRE(fired_at.size() == want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    CHECK(fired_at[i] >= want[i]);
    CHECK(fired_at[i] <= want[i] + 20);
  }
}

TEST_CASE("the loop's timer drives the wheel") {
  Loop loop(SystemClock());
  bool fired = false;
  Deadline deadline(*loop.timers, [&] {
    fired = true;
    loop.io.stop();
  });
  deadline.SetAfterMs(1);
  loop.io.run();
  CHECK(fired);
}

TEST_CASE("the loop's timer is moved forward for an earlier deadline") {
  Loop loop(SystemClock());
  std::string order;
  Deadline late(*loop.timers, [&order] { order += "late "; });
  Deadline soon(*loop.timers, [&order] { order += "soon "; });
  Deadline again(*loop.timers, [&] {
    order += "again ";
    loop.io.stop();
  });
  late.SetAfterMs(60'000);
  again.SetAfterMs(60);
  soon.SetAfterMs(20);
  const int64_t start_ns = SystemClock().MonotonicNs();
  loop.io.run();
  CHECK(order == "soon again ");
  CHECK(SystemClock().MonotonicNs() - start_ns < 4'000'000'000);
}

TEST_CASE("lent buffers come back and are lent again") {
  BufferPool pool;
  std::unique_ptr<char[]> first = pool.Take();
  char* const address = first.get();
  first[BufferPool::kBufferBytes + BufferPool::kPaddingBytes - 1] = 1;
  pool.Put(std::move(first));
  CHECK(pool.Take().get() == address);
  pool.Put(nullptr);
  CHECK(pool.Take() != nullptr);
}

TEST_CASE("header look-up ignores case") {
  RequestHead head;
  head.headers = {{"Host", "a"}, {"X-API-Key", "k1"}, {"x-api-key", "k2"}};
  CHECK(head.Find("x-api-key") == "k1");
  CHECK(head.Find("authorization").empty());
  CHECK(EqualsIgnoreCase("Content-Length", "content-lENGTH"));
  CHECK_FALSE(EqualsIgnoreCase("content-length", "content-lengt"));
  CHECK_FALSE(EqualsIgnoreCase("a@b", "a`b"));  // these differ by 0x20 and are no letters
}

}  // namespace
}  // namespace spillway
