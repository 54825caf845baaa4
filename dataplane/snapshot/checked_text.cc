#include "dataplane/snapshot/checked_text.h"

#include <format>

#include "common/crypto/crc32c.h"

namespace spillway {
namespace {

constexpr std::string_view kChecksumMark = "crc32c ";

}  // namespace

std::string WithChecksum(std::string content) {
  content += std::format("{}{:08x}\n", kChecksumMark, Crc32c(content));
  return content;
}

Result<std::string> CheckedContent(std::string_view file) {
  constexpr size_t kTail = kChecksumMark.size() + 9;
  if (file.size() < kTail) return Fail(ErrorCode::kCorrupt, "the file is cut off");
  const std::string_view content = file.substr(0, file.size() - kTail);
  if (file.substr(content.size()) != std::format("{}{:08x}\n", kChecksumMark, Crc32c(content)))
    return Fail(ErrorCode::kCorrupt, "the checksum is wrong");
  return std::string(content);
}

}  // namespace spillway
