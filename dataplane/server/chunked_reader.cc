#include "dataplane/server/chunked_reader.h"

#include <algorithm>

namespace spillway {
namespace {

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool IsControl(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte < 0x20 && c != '\t') || byte == 0x7f;
}

bool IsTokenByte(char c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
  return c != '\0' && std::string_view("!#$%&'*+-.^_`|~").contains(c);
}

}  // namespace

ChunkedReader::Step ChunkedReader::Next(std::string_view input) {
  Step step;
  while (step.consumed < input.size() && place_ != Place::kDone && place_ != Place::kBad) {
    if (place_ == Place::kData) {
      const size_t size =
          static_cast<size_t>(std::min<uint64_t>(left_, input.size() - step.consumed));
      step.data = input.substr(step.consumed, size);
      step.consumed += size;
      left_ -= size;
      if (left_ == 0) place_ = Place::kDataCr;
      break;
    }
    place_ = Advance(input[step.consumed]);
    if (place_ != Place::kBad) ++step.consumed;
  }
  if (place_ == Place::kDone) step.state = State::kDone;
  if (place_ == Place::kBad) step.state = State::kBad;
  return step;
}

ChunkedReader::Place ChunkedReader::Advance(char c) {
  switch (place_) {
    case Place::kSize:
      return OnSize(c);
    case Place::kExtension:
      if (c == '\r') return Place::kSizeLf;
      if (IsControl(c) || ++extension_bytes_ > kExtensionBytesMax) return Place::kBad;
      return Place::kExtension;
    case Place::kSizeLf:
      if (c != '\n') return Place::kBad;
      digits_ = 0;
      return left_ == 0 ? Place::kTrailerBegin : Place::kData;
    case Place::kDataCr:
      return c == '\r' ? Place::kDataLf : Place::kBad;
    case Place::kDataLf:
      return c == '\n' ? Place::kSize : Place::kBad;
    case Place::kEndLf:
      return c == '\n' ? Place::kDone : Place::kBad;
    case Place::kTrailerBegin:
    case Place::kTrailerName:
    case Place::kTrailerValue:
    case Place::kTrailerLf:
      return OnTrailer(c);
    case Place::kData:
    case Place::kDone:
    case Place::kBad:
      break;
  }
  return Place::kBad;
}

ChunkedReader::Place ChunkedReader::OnSize(char c) {
  if (const int value = HexValue(c); value >= 0) {
    left_ = left_ * 16 + static_cast<uint64_t>(value);
    if (++digits_ > 16 || left_ > kChunkBytesMax) return Place::kBad;
    return Place::kSize;
  }
  if (digits_ == 0) return Place::kBad;
  if (c == '\r') return Place::kSizeLf;
  if (c != ';' || ++extension_bytes_ > kExtensionBytesMax) return Place::kBad;
  return Place::kExtension;
}

ChunkedReader::Place ChunkedReader::OnTrailer(char c) {
  if (++trailer_bytes_ > kTrailerBytesMax) return Place::kBad;
  switch (place_) {
    case Place::kTrailerBegin:
      if (c == '\r') return Place::kEndLf;
      return IsTokenByte(c) ? Place::kTrailerName : Place::kBad;
    case Place::kTrailerName:
      if (c == ':') return Place::kTrailerValue;
      return IsTokenByte(c) ? Place::kTrailerName : Place::kBad;
    case Place::kTrailerValue:
      if (c == '\r') return Place::kTrailerLf;
      return IsControl(c) ? Place::kBad : Place::kTrailerValue;
    default:
      return c == '\n' ? Place::kTrailerBegin : Place::kBad;
  }
}

}  // namespace spillway
