#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/config/load.h"
#include "common/error.h"

namespace spillway::config {

// How a secret that was written into the file itself is shown.
inline constexpr std::string_view kLiteral = "(literal)";

// "${env:NAME}" or "${file:PATH}", the whole text.
struct Reference {
  std::string_view scheme;  // env, file
  std::string_view name;
};
std::optional<Reference> ParseReference(std::string_view text);

// The text with every reference in it replaced; the result holds at most 64 KiB.
Result<std::string> ResolveText(std::string_view text, const ReadReference& read);

// What may be sent as a credential in a header: 1 to 4096 printable ASCII characters. The error
// never repeats the text.
Result<void> CheckCredentialText(std::string_view text);

}  // namespace spillway::config
