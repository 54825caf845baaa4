#pragma once

#include <cstddef>
#include <string_view>

namespace spillway {

// Bytes of the well-formed UTF-8 sequence (RFC 3629) that `text` begins with: 1 to 4. 0: it begins
// with none, or is empty.
size_t Utf8Length(std::string_view text);
bool IsUtf8(std::string_view text);

}  // namespace spillway
