#pragma once

#include <cstdint>
#include <string_view>

#include "common/error.h"

namespace spillway::config {

// A decimal number as JSON writes it ("0.25", "2.5e-07") times 10^power, exactly: no floating point
// touches it. Errors begin with "is ...": no number, negative, too fine to be exact, too large.
// ScaledExactly("2.5e-07", 15) is 250,000,000: USD per token to nano-dollars per million.
Result<int64_t> ScaledExactly(std::string_view number, int power);

}  // namespace spillway::config
