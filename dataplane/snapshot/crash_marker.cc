#include "dataplane/snapshot/crash_marker.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <memory>

#include "common/durable_file.h"

namespace spillway {
namespace {

constexpr std::array kFatalSignals = {SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGFPE};
constexpr uint64_t kMagic = 0x53574352'41534801;  // "SWCRASH" 1

// What the handler writes: fixed size, one pwrite, checked by its own sum.
struct OnDisk {
  uint64_t magic;
  uint64_t id;
  int64_t revision;
  int64_t after_ms;
  int64_t signal;
  uint64_t sum;
};

uint64_t SumOf(const OnDisk& record) {
  return record.magic ^ (record.id * 3) ^ static_cast<uint64_t>(record.revision * 5) ^
         static_cast<uint64_t>(record.after_ms * 7) ^ static_cast<uint64_t>(record.signal * 11);
}

// All that the handler reads. Lock-free, so safe in a handler.
std::atomic<int> g_fd{-1};
std::atomic<uint64_t> g_id{0};
std::atomic<int64_t> g_revision{0};
std::atomic<int64_t> g_armed_ns{0};
std::atomic<int64_t> g_window_ns{0};
static_assert(std::atomic<int64_t>::is_always_lock_free &&
              std::atomic<uint64_t>::is_always_lock_free);
std::array<struct sigaction, kFatalSignals.size()> g_former;

// The injected clock is no business of a handler: clock_gettime is async-signal-safe.
int64_t NowNs() {
  timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

void Record(int signal) {
  const int fd = g_fd.load();
  const int64_t revision = g_revision.load();
  const int64_t after_ns = NowNs() - g_armed_ns.load();
  if (fd < 0 || revision == 0 || after_ns > g_window_ns.load()) return;
  OnDisk record{.magic = kMagic,
                .id = g_id.load(),
                .revision = revision,
                .after_ms = after_ns / 1'000'000,
                .signal = signal,
                .sum = 0};
  record.sum = SumOf(record);
  [[maybe_unused]] const ssize_t wrote = ::pwrite(fd, &record, sizeof(record), 0);
}

void OnFatalSignal(int signal, siginfo_t* info, void* /*context*/) {
  const int saved = errno;
  Record(signal);
  for (size_t i = 0; i < kFatalSignals.size(); ++i)
    if (kFatalSignals[i] == signal) ::sigaction(signal, &g_former[i], nullptr);
  errno = saved;
  // A fault happens again when we return; a signal that was sent must be sent again. Blocked until
  // then, it takes its former course.
  if (info->si_code <= 0) ::raise(signal);
}

// Frees the thread's signal stack when the thread ends.
class SignalStack {
 public:
  SignalStack() : memory_(new char[kBytes]) {
    stack_t stack = {};
    stack.ss_sp = memory_.get();
    stack.ss_size = kBytes;
    ::sigaltstack(&stack, &former_);
  }
  ~SignalStack() { ::sigaltstack(&former_, nullptr); }
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;

 private:
  static constexpr size_t kBytes = size_t{64} * 1024;
  std::unique_ptr<char[]> memory_;
  stack_t former_ = {};
};

uint64_t FreshRecordId() {
  uint64_t id = 0;
  while (id == 0) {
    if (::getrandom(&id, sizeof(id), 0) != static_cast<ssize_t>(sizeof(id)) && errno != EINTR)
      std::abort();
  }
  return id;
}

}  // namespace

CrashMarker::CrashMarker(int fd, int64_t window_ms) : fd_(fd), window_ms_(window_ms) {}

CrashMarker::~CrashMarker() {
  Disarm();
  if (g_fd.load() == fd_) g_fd.store(-1);
  ::close(fd_);
}

Result<std::unique_ptr<CrashMarker>> CrashMarker::Open(const std::string& path, int64_t window_ms) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return durable::FailErrno("cannot open", path);
  std::unique_ptr<CrashMarker> marker(new CrashMarker(fd, window_ms));
  OnDisk record = {};
  const ssize_t got = ::pread(fd, &record, sizeof(record), 0);
  if (got == static_cast<ssize_t>(sizeof(record)) && record.magic == kMagic &&
      record.sum == SumOf(record)) {
    marker->left_behind_ = CrashRecord{.id = record.id,
                                       .revision = record.revision,
                                       .after_ms = record.after_ms,
                                       .signal = static_cast<int>(record.signal)};
  }
  return marker;
}

Result<void> CrashMarker::Forget() {
  if (::ftruncate(fd_, 0) != 0) return durable::FailErrno("cannot empty", "the crash marker");
  return {};
}

Result<void> CrashMarker::Install() {
  g_id.store(FreshRecordId());
  g_window_ns.store(window_ms_ * 1'000'000);
  g_fd.store(fd_);
  struct sigaction action = {};
  action.sa_sigaction = OnFatalSignal;
  action.sa_flags = SA_ONSTACK | SA_SIGINFO;
  ::sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < kFatalSignals.size(); ++i) {
    if (::sigaction(kFatalSignals[i], &action, &g_former[i]) != 0)
      return durable::FailErrno("cannot handle signals for", "the crash marker");
  }
  PrepareThread();
  return {};
}

void CrashMarker::PrepareThread() { thread_local const SignalStack stack; }

void CrashMarker::Arm(int64_t revision, int64_t elapsed_ms) {
  g_revision.store(0);
  g_armed_ns.store(NowNs() - elapsed_ms * 1'000'000);
  g_revision.store(revision);
}

void CrashMarker::Disarm() { g_revision.store(0); }

int64_t CrashMarker::armed_revision() const { return g_revision.load(); }

}  // namespace spillway
