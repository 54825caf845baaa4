#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "common/error.h"

namespace spillway::config {

// True for addresses (4 or 16 bytes, network order) that no provider has: link-local ones, where
// clouds answer with the machine's credentials (169.254.0.0/16, fd00:ec2::254, ...), unspecified,
// multicast and reserved ones; also when an IPv4 address hides in an IPv6 one. Loopback and private
// networks are allowed: administrators run models there. Check it again at connect time, because a
// name may resolve to anything.
bool IsForbiddenAddress(std::span<const uint8_t> address);

// One host of a URL or a TLS name: a DNS name, an IPv4 address in plain dotted decimal, or (when
// `bracketed`) an IPv6 address in its canonical form. Returns it in lower case.
Result<std::string> ParseHost(std::string_view host, bool bracketed);

}  // namespace spillway::config
