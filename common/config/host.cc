#include "common/config/host.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>

namespace spillway::config {
namespace {

struct Network4 {
  std::array<uint8_t, 4> address;
  int bits;
};
constexpr std::array kForbidden4 = {
    Network4{{0, 0, 0, 0}, 8},           // "this" network
    Network4{{169, 254, 0, 0}, 16},      // link-local; metadata of most clouds
    Network4{{100, 100, 100, 200}, 32},  // Alibaba Cloud's metadata
    Network4{{168, 63, 129, 16}, 32},    // Azure's wire server
    Network4{{192, 0, 0, 192}, 32},      // Oracle Cloud's metadata
    Network4{{224, 0, 0, 0}, 3},         // multicast, reserved, broadcast
};

struct Network6 {
  std::array<uint8_t, 16> address;
  int bits;
};
constexpr std::array kForbidden6 = {
    Network6{{}, 128},                                                               // unspecified
    Network6{{0xFE, 0x80}, 10},                                                      // link-local
    Network6{{0xFF}, 8},                                                             // multicast
    Network6{{0xFD, 0x00, 0x0E, 0xC2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x54}, 128},  // AWS
    Network6{{0xFD, 0x20, 0x00, 0xCE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x54}, 128},  // Google
};

// IPv6 networks whose addresses carry an IPv4 address at `offset`.
struct Carrier {
  Network6 network;
  size_t offset;
};
constexpr std::array kCarriers = {
    Carrier{{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF}, 96}, 12},  // mapped
    Carrier{{{0x00, 0x64, 0xFF, 0x9B}, 96}, 12},                    // NAT64
    Carrier{{{0x20, 0x02}, 16}, 2},                                 // 6to4
};
// The old "compatible" form ::a.b.c.d; ::1 is loopback and no IPv4 address.
constexpr Network6 kCompatible = {{}, 96};

bool Within(std::span<const uint8_t> address, std::span<const uint8_t> network, int bits) {
  const auto whole = static_cast<size_t>(bits / 8);
  if (!std::ranges::equal(network.first(whole), address.first(whole))) return false;
  if (bits % 8 == 0) return true;
  const auto mask = static_cast<uint8_t>(0xFF << (8 - bits % 8));
  return (address[whole] & mask) == (network[whole] & mask);
}

bool IsForbidden4(std::span<const uint8_t> address) {
  return std::ranges::any_of(kForbidden4, [&](const Network4& network) {
    return Within(address, network.address, network.bits);
  });
}

bool IsLoopback6(std::span<const uint8_t> address) {
  return address[15] == 1 &&
         std::ranges::all_of(address.first(15), [](uint8_t b) { return b == 0; });
}

bool IsForbidden6(std::span<const uint8_t> address) {
  for (const Network6& network : kForbidden6) {
    if (Within(address, network.address, network.bits)) return true;
  }
  for (const Carrier& carrier : kCarriers) {
    if (Within(address, carrier.network.address, carrier.network.bits))
      return IsForbidden4(address.subspan(carrier.offset, 4));
  }
  return Within(address, kCompatible.address, kCompatible.bits) && !IsLoopback6(address) &&
         IsForbidden4(address.subspan(12, 4));
}

std::unexpected<Error> RefuseHost(std::string message) {
  return Fail(ErrorCode::kInvalidConfig, std::move(message));
}

std::unexpected<Error> RefuseForbidden() {
  return RefuseHost("must not be a link-local, metadata, multicast or unspecified address");
}

Result<std::string> ParseAddress6(const std::string& text) {
  std::array<uint8_t, 16> address{};
  std::array<char, INET6_ADDRSTRLEN> canonical{};
  if (inet_pton(AF_INET6, text.c_str(), address.data()) != 1 ||
      inet_ntop(AF_INET6, address.data(), canonical.data(), canonical.size()) == nullptr ||
      text != canonical.data()) {
    return RefuseHost("an IPv6 host must be written in its canonical form, such as [2001:db8::1]");
  }
  if (IsForbiddenAddress(address)) return RefuseForbidden();
  return text;
}

// inet_pton takes exactly four decimal parts, without leading zeros.
Result<std::string> ParseAddress4(const std::string& text) {
  std::array<uint8_t, 4> address{};
  if (inet_pton(AF_INET, text.c_str(), address.data()) != 1)
    return RefuseHost("a numeric host must be four plain decimal numbers, such as 192.0.2.1");
  if (IsForbiddenAddress(address)) return RefuseForbidden();
  return text;
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool IsLabel(std::string_view label) {
  return !label.empty() && label.size() <= 63 && label.front() != '-' && label.back() != '-' &&
         std::ranges::all_of(label, [](char c) {
           return IsDigit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '_';
         });
}

// What some resolver would read as a number: "127.1", "0x7f000001", "2130706433", "10.0.0.010".
bool LooksNumeric(std::string_view last_label) {
  return (!last_label.empty() && std::ranges::all_of(last_label, IsDigit)) ||
         last_label.starts_with("0x");
}

Result<std::string> ParseName(std::string name) {
  if (name.empty() || name.size() > 253)
    return RefuseHost("the host must be 1 to 253 characters long");
  const std::string_view last = std::string_view(name).substr(name.rfind('.') + 1);
  if (LooksNumeric(last)) return ParseAddress4(name);
  std::string_view rest = name;
  for (bool more = true; more;) {
    const size_t dot = rest.find('.');
    if (!IsLabel(rest.substr(0, dot)))
      return RefuseHost(
          "the host must be a DNS name (letters, digits, '-', '_', '.') or an address");
    more = dot != std::string_view::npos;
    if (more) rest.remove_prefix(dot + 1);
  }
  if (name == "metadata" || name == "metadata.google.internal" || name == "metadata.goog")
    return RefuseHost("must not be a cloud's metadata service");
  return name;
}

}  // namespace

bool IsForbiddenAddress(std::span<const uint8_t> address) {
  if (address.size() == 4) return IsForbidden4(address);
  return address.size() != 16 || IsForbidden6(address);
}

Result<std::string> ParseHost(std::string_view host, bool bracketed) {
  std::string lower(host);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (lower.contains('\0')) return RefuseHost("the host must not hold a NUL character");
  return bracketed ? ParseAddress6(lower) : ParseName(std::move(lower));
}

}  // namespace spillway::config
