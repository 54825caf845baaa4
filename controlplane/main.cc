#include <absl/synchronization/mutex.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <print>
#include <string>

#include "common/clock.h"
#include "common/log.h"
#include "common/settings.h"
#include "controlplane/budgets/restore_note.h"
#include "controlplane/control_plane.h"
#include "controlplane/options.h"

namespace spillway {
namespace {

constexpr int kFencedExit = 3;

sigset_t EndingSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

void Complain(const std::string& message) {
  std::println(stderr, "{}: {}", kControlPlaneProgram, message);
}

// At once and without tidying up: two writers must not overlap, and all that counts is synced.
void EndFenced(const std::string& why) {
  Complain(why);
  _exit(kFencedExit);
}

int RestoreBackup(const ControlPlaneOptions& options) {
  // The note is left before the store is replaced, and stays if that fails: the serving process
  // must not grant as if nothing was lost.
  const auto restored = Store::Restore(options.restore_backup, options.StorePath(),
                                       [&] { return LeaveRestoreNote(options.data_dir); });
  if (!restored) {
    Complain(restored.error().message);
    return 1;
  }
  std::println(
      "restored {}; what was there is kept beside it, in a folder named after {}.before-restore",
      options.restore_backup, options.StorePath());
  return 0;
}

int NewAdminToken(const ControlPlaneOptions& options) {
  const auto created = [&]() -> Result<AdminTokens::Created> {
    SW_CHECK(RefuseHalfRestored(options.data_dir, options.StorePath()));
    if (!Store::Exists(options.StorePath()))
      return Fail(ErrorCode::kInvalidConfig, options.StorePath() + " is not there: see --data-dir");
    SW_TRY(const auto store, Store::Open({.path = options.StorePath()}));
    SW_TRY(const auto tokens, AdminTokens::Open(*store));
    return MintOffline(*tokens, SystemClock().WallMs());
  }();
  if (!created) {
    Complain(created.error().message);
    return 1;
  }
  std::println(stderr, "admin token \"{}\"; it is shown only here", created->token.name());
  std::println("{}", created->secret);
  return 0;
}

int Serve(const ControlPlaneOptions& options) {
  // Before any thread starts, so that all of them leave these signals to sigwait below.
  const sigset_t signals = EndingSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGHUP, SIG_IGN);
  RaiseFileLimit();
  auto plane = ControlPlane::Start(options, EndFenced);
  if (!plane) {
    Complain(plane.error().message);
    return plane.error().code == ErrorCode::kInvalidConfig ? 2 : 1;
  }
  int signal = 0;
  sigwait(&signals, &signal);
  log::Info("draining", {{"signal", signal}});
  (*plane)->Drain();
  plane->reset();
  log::Info("stopped");
  return 0;
}

}  // namespace
}  // namespace spillway

int main(int argc, char** argv) {
#ifdef NDEBUG
  // The distribution builds Abseil with deadlock detection on: it costs 50 times a lock.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
#endif
  const auto options = spillway::ParseControlPlaneOptions(argc, argv);
  if (!options.restore_backup.empty()) return spillway::RestoreBackup(options);
  if (options.new_admin_token) return spillway::NewAdminToken(options);
  return spillway::Serve(options);
}
