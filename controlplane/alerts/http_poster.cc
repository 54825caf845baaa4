#include "controlplane/alerts/http_poster.h"

#include <arpa/inet.h>
#include <httplib.h>
#include <netdb.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <span>
#include <thread>

#include "common/config/base_url.h"
#include "common/config/host.h"

namespace spillway::alerts {
namespace {

constexpr size_t kAnswerBytesMax = size_t{64} * 1024;
constexpr size_t kAddressesMax = 4;  // of one name that are tried

std::unexpected<Error> Unreachable(std::string why) {
  return Fail(ErrorCode::kUnavailable, std::move(why));
}

// The address as text; empty: one that no sink may have.
std::string AllowedAddress(const addrinfo& info) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* address = nullptr;
  size_t size = 0;
  if (info.ai_family == AF_INET) {
    address = &reinterpret_cast<const sockaddr_in*>(info.ai_addr)->sin_addr;
    size = sizeof(in_addr);
  } else if (info.ai_family == AF_INET6) {
    address = &reinterpret_cast<const sockaddr_in6*>(info.ai_addr)->sin6_addr;
    size = sizeof(in6_addr);
  }
  if (address == nullptr ||
      config::IsForbiddenAddress(std::span(static_cast<const uint8_t*>(address), size)) ||
      inet_ntop(info.ai_family, address, text.data(), text.size()) == nullptr)
    return {};
  return text.data();
}

// Refuses the name when any of its addresses is forbidden: the next look-up could begin with that.
Result<std::vector<std::string>> Resolve(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0 || found == nullptr)
    return Unreachable("its name cannot be resolved");
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owned(found, &freeaddrinfo);
  std::vector<std::string> addresses;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    const std::string address = AllowedAddress(*at);
    if (address.empty()) {
      return Unreachable(
          "its name leads to an address that no sink may have (link-local, metadata, multicast)");
    }
    if (addresses.size() < kAddressesMax) addresses.push_back(address);
  }
  return addresses;
}

// Nothing was sent: another address of the same name may do.
bool IsUnconnected(httplib::Error error) {
  return error == httplib::Error::Connection || error == httplib::Error::ConnectionTimeout;
}

std::string Explain(httplib::Error error) {
  switch (error) {
    case httplib::Error::Connection:
      return "nobody answers at its address";
    case httplib::Error::ConnectionTimeout:
      return "connecting took too long";
    case httplib::Error::SSLConnection:
    case httplib::Error::SSLLoadingCerts:
      return "TLS could not be set up";
    case httplib::Error::SSLServerVerification:
      return "its TLS certificate is not trusted";
    case httplib::Error::SSLServerHostnameVerification:
      return "its TLS certificate is for another name";
    case httplib::Error::Write:
      return "the connection broke while sending";
    case httplib::Error::Read:
      return "no answer came in time";
    default:
      return "its answer was no HTTP, too long, or broke off";
  }
}

std::unique_ptr<httplib::ClientImpl> ClientFor(const config::BaseUrl& url,
                                               const std::string& address,
                                               const HttpPoster::Options& options) {
  std::unique_ptr<httplib::ClientImpl> client;
  if (url.tls) {
    auto tls = std::make_unique<httplib::SSLClient>(url.host, url.port);
    tls->enable_server_certificate_verification(true);
    tls->enable_server_hostname_verification(true);
    if (!options.ca_file.empty()) tls->set_ca_cert_path(options.ca_file);
    client = std::move(tls);
  } else {
    client = std::make_unique<httplib::ClientImpl>(url.host, url.port);
  }
  client->set_hostname_addr_map({{url.host, address}});
  client->set_connection_timeout(std::chrono::milliseconds(options.connect_ms));
  client->set_read_timeout(std::chrono::milliseconds(options.total_ms));
  client->set_write_timeout(std::chrono::milliseconds(options.total_ms));
  client->set_follow_location(false);
  client->set_keep_alive(false);
  client->set_decompress(false);
  client->set_url_encode(false);
  return client;
}

struct Destination {
  config::BaseUrl url;
  std::string target;  // path and query
};

// As the configuration checked it; a query goes out as it is, so it must hold nothing that ends a
// line.
Result<Destination> DestinationOf(std::string_view text) {
  SW_CHECK(config::CheckAlertUrl(text));
  const size_t mark = std::min(text.find('?'), text.size());
  const std::string_view query = text.substr(mark);
  if (!std::ranges::all_of(query, [](char c) { return c > ' ' && c < '\x7F'; }))
    return Fail(ErrorCode::kInvalidConfig, "its query holds characters that must be escaped");
  Destination to;
  SW_TRY(to.url, config::ParseBaseUrl(text.substr(0, mark)));
  to.target = to.url.path_prefix.empty() ? "/" : to.url.path_prefix;
  to.target += query;
  return to;
}

httplib::Request RequestOf(const SinkPost& post, const Destination& to) {
  httplib::Request request;
  request.method = "POST";
  request.path = to.target;
  request.body = std::string(post.body);
  request.set_header("Host", to.url.host_header);
  request.set_header("Content-Type", "application/json");
  request.set_header("User-Agent", "spillway");
  for (const auto& [name, value] : post.headers) request.set_header(name, value);
  request.content_receiver = [received = size_t{0}](const char*, size_t size, uint64_t,
                                                    uint64_t) mutable {
    received += size;
    return received <= kAnswerBytesMax;
  };
  return request;
}

}  // namespace

struct HttpPoster::Rep {
  explicit Rep(Options o) : options(std::move(o)) {}

  const Options options;
  std::mutex mutex;  // guards what follows
  std::condition_variable changed;
  bool stopped = false;
  std::set<httplib::ClientImpl*> running;

  // An answer may come a byte at a time: the library's limits are per read, this one is for all.
  void CutWhenLate(httplib::ClientImpl* client) {
    std::unique_lock lock(mutex);
    const bool ended = changed.wait_for(lock, std::chrono::milliseconds(options.total_ms),
                                        [&] { return !running.contains(client); });
    if (!ended) client->stop();
  }
  bool Begin(httplib::ClientImpl* client) {
    const std::lock_guard lock(mutex);
    if (!stopped) running.insert(client);
    return !stopped;
  }
  void End(httplib::ClientImpl* client) {
    const std::lock_guard lock(mutex);
    running.erase(client);
    changed.notify_all();
  }
};

HttpPoster::HttpPoster(Options options) : rep_(std::make_unique<Rep>(std::move(options))) {}
HttpPoster::~HttpPoster() = default;

void HttpPoster::Stop() {
  const std::lock_guard lock(rep_->mutex);
  rep_->stopped = true;
  for (httplib::ClientImpl* client : rep_->running) client->stop();
}

Result<int> HttpPoster::Post(const SinkPost& post) {
  SW_TRY(const Destination to, DestinationOf(post.url));
  SW_TRY(const std::vector<std::string> addresses, Resolve(to.url.host));
  httplib::Error error = httplib::Error::Connection;
  for (const std::string& address : addresses) {
    const auto client = ClientFor(to.url, address, rep_->options);
    if (!rep_->Begin(client.get())) return Unreachable("the control plane is ending");
    httplib::Result answer;
    {
      const std::jthread watch([&] { rep_->CutWhenLate(client.get()); });
      answer = client->send(RequestOf(post, to));
      rep_->End(client.get());
    }
    if (answer) return answer->status;
    error = answer.error();
    if (!IsUnconnected(error)) break;
  }
  return Unreachable(Explain(error));
}

}  // namespace spillway::alerts
