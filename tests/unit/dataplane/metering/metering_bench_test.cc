// Prints what journalling costs a request thread; fails nothing.
#include <ctime>
#include <print>

#include "tests/unit/dataplane/metering/scratch.h"

namespace spillway {
namespace {

TEST_CASE("journalling cost per record", "[.benchmark]") {
  const TempFolder folder;
  auto options = SmallJournal();
  options.bytes_max = int64_t{4} * 1024 * 1024 * 1024;
  options.segment_bytes = 8 * 1024 * 1024;
  options.threaded = true;
  auto opened = OpenJournal(folder.path(), SystemClock(), options);
  Meter meter(*opened.journal, SystemClock());
  constexpr int kAttempts = 1'000'000;
  const auto cpu_ns = [] {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
  };
  const double begin = cpu_ns();
  for (int i = 0; i < kAttempts; ++i)
    std::move(*meter.Start(SampleAttempt())).Finish(SampleOutcome());
  std::println("journal: {:.0f} ns of the caller's CPU a record, {} counted while full",
               (cpu_ns() - begin) / (2.0 * kAttempts), opened.journal->stats().counted_ends);
}

}  // namespace
}  // namespace spillway
