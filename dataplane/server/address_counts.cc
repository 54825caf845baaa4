#include "dataplane/server/address_counts.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

namespace spillway {
namespace {

// A /64 of IPv6; IPv4 lies at 0:ffff::/32, which nobody has.
uint64_t KeyOf(const sockaddr_storage& address) {
  constexpr uint64_t kIpv4 = uint64_t{0xffff} << 32;
  if (address.ss_family == AF_INET) {
    sockaddr_in ipv4;
    std::memcpy(&ipv4, &address, sizeof ipv4);
    return kIpv4 | ntohl(ipv4.sin_addr.s_addr);
  }
  sockaddr_in6 ipv6;
  std::memcpy(&ipv6, &address, sizeof ipv6);
  uint32_t words[4];
  std::memcpy(words, &ipv6.sin6_addr, sizeof words);
  if (IN6_IS_ADDR_V4MAPPED(&ipv6.sin6_addr)) return kIpv4 | ntohl(words[3]);
  return uint64_t{ntohl(words[0])} << 32 | ntohl(words[1]);
}

}  // namespace

std::optional<AddressCounts::Place> AddressCounts::Take(const sockaddr_storage& address) {
  if (!limited()) return std::nullopt;
  const uint64_t key = KeyOf(address);
  const std::lock_guard lock(mutex_);
  int64_t& open = open_[key];
  if (open >= most_) return std::nullopt;
  ++open;
  return std::optional<Place>(std::in_place, *this, key);
}

void AddressCounts::Release(uint64_t key) {
  const std::lock_guard lock(mutex_);
  const auto found = open_.find(key);
  if (--found->second == 0) open_.erase(found);
}

}  // namespace spillway
