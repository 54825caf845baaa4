#include <nats/nats.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>
#include <utility>

#include "common/ids.h"
#include "common/log.h"
#include "common/nats_bus_rep.h"

namespace spillway {
namespace {

constexpr int64_t kConnectTimeoutMs = 2'000;
constexpr int64_t kPingIntervalMs = 5'000;
constexpr int kPingsOutMax = 2;
constexpr int64_t kWriteDeadlineMs = 2'000;
constexpr int kReconnectBufferBytes = 1 << 20;
constexpr int64_t kFirstDelayMs = 100;
constexpr int64_t kSupervisionNs = 500'000'000;

struct FreeOptions {
  void operator()(natsOptions* options) const { natsOptions_Destroy(options); }
};
using OptionsHandle = std::unique_ptr<natsOptions, FreeOptions>;

// Uniform in (0, min(cap, first * 2^attempts)]: full jitter, so that a fleet does not return at
// once.
int64_t JitteredDelayMs(int attempts, int64_t cap_ms) {
  thread_local std::minstd_rand random(std::random_device{}());
  const int64_t grown = kFirstDelayMs << std::clamp(attempts, 0, 12);
  const int64_t limit = std::max<int64_t>(1, std::min(cap_ms, grown));
  return std::uniform_int_distribution<int64_t>(1, limit)(random);
}

int64_t OnDelay(natsConnection*, int attempts, void* handle) {
  const auto rep = NatsReps().Find(handle);
  return JitteredDelayMs(attempts, rep == nullptr ? 1'000 : rep->options.reconnect_delay_max_ms);
}
void OnConnect(natsConnection*, void* handle) {
  if (const auto rep = NatsReps().Find(handle)) rep->Connected();
}
void OnDisconnect(natsConnection*, void* handle) {
  if (const auto rep = NatsReps().Find(handle)) rep->Disconnected();
}
void OnClosed(natsConnection*, void* handle) {
  if (const auto rep = NatsReps().Find(handle)) rep->Lost();
}
void OnFault(natsConnection*, natsSubscription*, natsStatus status, void* handle) {
  if (NatsReps().Find(handle) == nullptr) return;
  log::Warn("the bus reports a fault", {{"fault", natsStatus_GetText(status)}});
}

void OnNatsMessage(natsConnection*, natsSubscription*, natsMsg* message, void* handle) {
  BusMessage heard;
  heard.subject = natsMsg_GetSubject(message);
  heard.payload.assign(natsMsg_GetData(message),
                       static_cast<size_t>(natsMsg_GetDataLength(message)));
  natsMsg_Destroy(message);
  const auto listener = NatsListeners().Find(handle);
  if (listener == nullptr) return;
  const std::lock_guard lock(listener->mutex);
  if (listener->alive) listener->on_message(heard);
}

std::vector<std::string> SplitUrls(const std::string& urls) {
  std::vector<std::string> split;
  size_t at = 0;
  while (at <= urls.size()) {
    const size_t end = std::min(urls.find(',', at), urls.size());
    if (end > at) split.push_back(urls.substr(at, end - at));
    at = end + 1;
  }
  return split;
}

natsStatus SetServers(natsOptions* options, const std::string& urls) {
  const std::vector<std::string> split = SplitUrls(urls);
  std::vector<const char*> pointers;
  pointers.reserve(split.size());
  for (const std::string& url : split) pointers.push_back(url.c_str());
  return natsOptions_SetServers(options, pointers.data(), static_cast<int>(pointers.size()));
}

natsStatus SetTls(natsOptions* options, const NatsOptions& wanted) {
  if (wanted.tls_ca_file.empty() && wanted.tls_cert_file.empty()) return NATS_OK;
  natsStatus status = natsOptions_SetSecure(options, true);
  if (status == NATS_OK && !wanted.tls_ca_file.empty()) {
    status = natsOptions_LoadCATrustedCertificates(options, wanted.tls_ca_file.c_str());
  }
  if (status == NATS_OK && !wanted.tls_cert_file.empty()) {
    status = natsOptions_LoadCertificatesChain(options, wanted.tls_cert_file.c_str(),
                                               wanted.tls_key_file.c_str());
  }
  return status;
}

natsStatus SetIdentity(natsOptions* options, const NatsOptions& wanted) {
  natsStatus status = natsOptions_SetName(options, wanted.client_name.c_str());
  if (status == NATS_OK && !wanted.user.empty()) {
    const std::string password(wanted.password.Reveal());
    status = natsOptions_SetUserInfo(options, wanted.user.c_str(), password.c_str());
  }
  if (status == NATS_OK && !wanted.credentials_file.empty()) {
    status =
        natsOptions_SetUserCredentialsFromFiles(options, wanted.credentials_file.c_str(), nullptr);
  }
  if (status == NATS_OK) {
    status = natsOptions_SetCustomInboxPrefix(options, wanted.inbox_prefix.c_str());
  }
  return status;
}

// Retries for ever: the library's defaults close a connection for good after two minutes.
natsStatus SetPersistence(natsOptions* options, void* handle) {
  natsStatus status = natsOptions_SetRetryOnFailedConnect(options, true, OnConnect, handle);
  const auto then = [&](natsStatus next) {
    if (status == NATS_OK) status = next;
  };
  then(natsOptions_SetMaxReconnect(options, -1));
  then(natsOptions_SetTimeout(options, kConnectTimeoutMs));
  then(natsOptions_SetPingInterval(options, kPingIntervalMs));
  then(natsOptions_SetMaxPingsOut(options, kPingsOutMax));
  then(natsOptions_SetCustomReconnectDelay(options, OnDelay, handle));
  then(natsOptions_SetReconnectBufSize(options, kReconnectBufferBytes));
  then(natsOptions_SetWriteDeadline(options, kWriteDeadlineMs));
  then(natsOptions_SetSendAsap(options, true));
  then(natsOptions_SetReconnectedCB(options, OnConnect, handle));
  then(natsOptions_SetDisconnectedCB(options, OnDisconnect, handle));
  then(natsOptions_SetClosedCB(options, OnClosed, handle));
  then(natsOptions_SetErrorHandler(options, OnFault, handle));
#if NATS_VERSION_NUMBER >= 0x030D00
  then(natsOptions_SetIgnoreAuthErrorAbort(options, true));
#endif
#if NATS_VERSION_NUMBER >= 0x030E00
  then(natsOptions_SetReconnectOnProtocolError(options, true));
#endif
  return status;
}

Result<OptionsHandle> MakeOptions(const NatsOptions& wanted, void* handle) {
  natsOptions* raw = nullptr;
  natsStatus status = natsOptions_Create(&raw);
  OptionsHandle options(raw);
  if (status == NATS_OK) status = SetServers(raw, wanted.url);
  if (status == NATS_OK) status = SetIdentity(raw, wanted);
  if (status == NATS_OK) status = SetTls(raw, wanted);
  if (status == NATS_OK) status = SetPersistence(raw, handle);
  if (status == NATS_OK) return options;
  return Fail(ErrorCode::kInvalidConfig,
              "the bus's options: " + std::string(natsStatus_GetText(status)) +
                  " (address, inbox prefix, credentials or TLS files)");
}

}  // namespace

// Never destroyed: the library's threads may ask until the process ends.
NatsRegistry<NatsListener>& NatsListeners() {
  static auto* const registry = new NatsRegistry<NatsListener>();
  return *registry;
}
NatsRegistry<NatsBus::Rep>& NatsReps() {
  static auto* const registry = new NatsRegistry<NatsBus::Rep>();
  return *registry;
}

int64_t SteadyNs() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

void NatsListener::Kill() {
  NatsListeners().Remove(handle);
  const std::lock_guard lock(mutex);
  // The callback itself stays: it may be what runs this.
  alive = false;
}

NatsLink::~NatsLink() {
  NatsReps().Remove(handle);
  jsCtx_Destroy(js);
  natsConnection_Destroy(connection);
}

Result<void> NatsBus::Rep::CheckOptions() const {
  if (SplitUrls(options.url).empty()) return Fail(ErrorCode::kInvalidConfig, "the bus has no URL");
  if (options.tls_cert_file.empty() != options.tls_key_file.empty()) {
    return Fail(ErrorCode::kInvalidConfig,
                "the bus's TLS needs a certificate and its key, or neither");
  }
  return MakeOptions(options, nullptr).transform([](const auto&) {});
}

Result<std::shared_ptr<NatsLink>> NatsBus::Rep::Link() const {
  const std::lock_guard lock(mutex);
  if (closing) return Fail(ErrorCode::kCancelled, "the bus was closed");
  if (!connected || link == nullptr) {
    return Fail(ErrorCode::kUnavailable, "the bus is not connected");
  }
  return link;
}

void NatsBus::Rep::Connected() {
  const std::lock_guard lock(mutex);
  connected = true;
  announce = true;
  ++counts.connects;
  wake.notify_all();
  to_send.notify_all();
}

void NatsBus::Rep::Disconnected() {
  {
    const std::lock_guard lock(mutex);
    connected = false;
  }
  FailPending({.code = ErrorCode::kUnavailable, .message = "the bus was disconnected"});
}

void NatsBus::Rep::Lost() {
  Disconnected();
  const std::lock_guard lock(mutex);
  link_lost = true;
  wake.notify_all();
}

void NatsBus::Rep::SubscribeOne(NatsLink& on, NatsListener& listener) {
  const natsStatus status = natsConnection_Subscribe(
      &listener.native, on.connection, listener.subject.c_str(), OnNatsMessage, listener.handle);
  if (status == NATS_OK) return;
  listener.native = nullptr;
  log::Warn("subscribe failed",
            {{"subject", listener.subject}, {"status", natsStatus_GetText(status)}});
}

// One step for whoever subscribes meanwhile: it finds the link, or its listener is among these.
// (One that came in between would never hear anything.)
void NatsBus::Rep::Install(std::shared_ptr<NatsLink> fresh) {
  const std::lock_guard listening(listeners_mutex);
  for (const auto& listener : listeners) {
    natsSubscription_Destroy(std::exchange(listener->native, nullptr));
    if (fresh != nullptr) SubscribeOne(*fresh, *listener);
  }
  const std::lock_guard lock(mutex);
  link = std::move(fresh);
}

void NatsBus::Rep::Unsubscribe(NatsListener& listener) {
  const std::lock_guard lock(listeners_mutex);
  std::erase_if(listeners, [&](const auto& each) { return each.get() == &listener; });
  natsSubscription_Destroy(std::exchange(listener.native, nullptr));
}

// One connection, connected already or not yet: the library goes on trying. nullptr: it refused.
std::shared_ptr<NatsLink> NatsBus::Rep::Build(bool& up) {
  auto fresh = std::make_shared<NatsLink>();
  fresh->handle = NatsReps().Add(weak_from_this());
  auto made = MakeOptions(options, fresh->handle);
  if (!made) {
    log::Warn("the bus cannot be set up", {{"error", made.error().message}});
    return nullptr;
  }
  const natsStatus status = natsConnection_Connect(&fresh->connection, made->get());
  if (status != NATS_OK && status != NATS_NOT_YET_CONNECTED) {
    log::Warn("the bus cannot connect", {{"status", natsStatus_GetText(status)}});
    return nullptr;
  }
  jsOptions js_options;
  jsOptions_Init(&js_options);
  if (natsConnection_JetStream(&fresh->js, fresh->connection, &js_options) != NATS_OK) {
    return nullptr;
  }
  up = status == NATS_OK;
  return fresh;
}

void NatsBus::Rep::Supervise() {
  int attempts = 0;
  std::unique_lock lock(mutex);
  while (!closing) {
    if (link == nullptr || link_lost) {
      link_lost = false;
      if (attempts > 0) {
        const auto delay =
            std::chrono::milliseconds(JitteredDelayMs(attempts, options.reconnect_delay_max_ms));
        wake.wait_for(lock, delay, [this] { return closing; });
        if (closing) break;
        ++counts.rebuilds;
      }
      ++attempts;
      auto old = std::exchange(link, nullptr);
      lock.unlock();
      old.reset();
      bool up = false;
      Install(Build(up));
      if (up) Connected();
      lock.lock();
      continue;
    }
    if (connected) attempts = 1;
    auto due = std::exchange(late_callbacks, {});
    if (connected && std::exchange(announce, false)) due = on_connected;
    if (!due.empty()) {
      lock.unlock();
      for (const auto& callback : due) callback();
      lock.lock();
      continue;
    }
    const int64_t now_ns = SteadyNs();
    int64_t until_ns = now_ns + kSupervisionNs;
    if (!deadlines.empty()) until_ns = std::min(until_ns, deadlines.begin()->first);
    const auto stirred = [this, until_ns] {
      return closing || link_lost || (announce && connected) || !late_callbacks.empty() ||
             (!deadlines.empty() && deadlines.begin()->first < until_ns);
    };
    wake.wait_for(lock, std::chrono::nanoseconds(until_ns - now_ns), stirred);
    lock.unlock();
    ExpireDue();
    lock.lock();
  }
}

void NatsBus::Rep::Shutdown() {
  {
    const std::lock_guard lock(mutex);
    closing = true;
    wake.notify_all();
    to_send.notify_all();
  }
  supervisor.join();
  sender.join();
  std::vector<std::shared_ptr<NatsListener>> dead;
  {
    const std::lock_guard lock(listeners_mutex);
    dead = listeners;
  }
  for (const auto& listener : dead) listener->Kill();
  FailPending({.code = ErrorCode::kCancelled, .message = "the bus was closed"});
  std::shared_ptr<NatsLink> last;
  {
    std::unique_lock lock(mutex);
    // The library's threads may be telling answers of their own: none outlives this call.
    settled.wait(lock, [this] { return settling == 0; });
    connected = false;
    on_connected.clear();
    late_callbacks.clear();
    last = std::exchange(link, nullptr);
  }
  for (const auto& listener : dead) Unsubscribe(*listener);
  // Ends a Fetch that another thread is in.
  if (last != nullptr) natsConnection_Close(last->connection);
}

}  // namespace spillway
