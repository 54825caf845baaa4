#pragma once

#include <string>
#include <string_view>

#include "common/error.h"

namespace spillway {

// Content with a checksum line behind it, and back: for small text files. kCorrupt.
std::string WithChecksum(std::string content);
Result<std::string> CheckedContent(std::string_view file);

}  // namespace spillway
