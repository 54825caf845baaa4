#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/error.h"

namespace spillway {

// One zstd frame. Inflating stops at `bytes_max`: a frame that declares more is refused before any
// memory is taken, one that lies about it as soon as it has produced more. Refusals: kOversized,
// kCorrupt (cut off, damaged, or followed by more bytes).
Result<std::string> Inflate(std::string_view frame, int64_t bytes_max);
std::string Deflate(std::string_view bytes);

}  // namespace spillway
