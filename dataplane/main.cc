#include <csignal>
#include <cstdio>
#include <ctime>
#include <filesystem>

#include "common/clock.h"
#include "common/log.h"
#include "common/settings.h"
#include "dataplane/data_plane.h"
#include "dataplane/metering/standalone_totals.h"
#include "dataplane/options.h"

namespace spillway {
namespace {

constexpr int64_t kDrainStepMs = 100;

// Blocked before any thread starts, so that only main's sigwait sees them.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // A client that leaves is a failed write, not the end of the process.
  std::signal(SIGPIPE, SIG_IGN);
  return signals;
}

int PrintUsage(const std::string& data_dir) {
  if (!std::filesystem::is_directory(data_dir))
    ExitUsage(kProgram, "--usage: there is no folder " + data_dir);
  const Result<std::string> text = RenderUsage(data_dir);
  if (!text) ExitUsage(kProgram, text.error().message);
  std::fputs(text->c_str(), stdout);
  return 0;
}

void AwaitEnd(const sigset_t& signals, DataPlane& plane) {
  int signal = 0;
  while (sigwait(&signals, &signal) != 0 || signal == SIGHUP) {
    if (signal == SIGHUP) plane.Reload();
  }
}

// Until every connection has ended, the time is over, or a second signal asks for haste.
void Drain(const sigset_t& signals, DataPlane& plane, int64_t timeout_ms) {
  plane.BeginDrain();
  const int64_t end_ns = SystemClock().MonotonicNs() + timeout_ms * 1'000'000;
  while (!plane.AwaitDrained(kDrainStepMs)) {
    const timespec now{};
    const int signal = sigtimedwait(&signals, nullptr, &now);
    if (signal == SIGTERM || signal == SIGINT) break;
    if (SystemClock().MonotonicNs() < end_ns) continue;
    log::Warn("the drain timeout is over; what still runs is cut");
    break;
  }
}

int Main(int argc, char** argv) {
  const DataPlaneOptions options = ParseOptionsOrExit(argc, argv);
  if (!options.usage_dir.empty()) return PrintUsage(options.usage_dir);
  RaiseFileLimit();
  const sigset_t signals = BlockSignals();
  Result<std::unique_ptr<DataPlane>> plane = DataPlane::Start(options);
  if (!plane) ExitUsage(kProgram, plane.error().message);
  AwaitEnd(signals, **plane);
  log::Info("draining");
  Drain(signals, **plane, options.drain_timeout_ms);
  (*plane)->Finish();
  return 0;
}

}  // namespace
}  // namespace spillway

int main(int argc, char** argv) { return spillway::Main(argc, argv); }
