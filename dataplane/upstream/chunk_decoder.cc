#include "dataplane/upstream/chunk_decoder.h"

#include <algorithm>
#include <cstring>

namespace spillway {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

bool ChunkDecoder::Decode(char* data, size_t size, Step& step) {
  char* payload = nullptr;
  size_t payload_size = 0;
  size_t at = 0;
  while (at < size && state_ != State::kDone) {
    if (state_ != State::kData) {
      if (!Control(data[at++])) return false;
      continue;
    }
    const size_t part =
        static_cast<size_t>(std::min<int64_t>(left_, static_cast<int64_t>(size - at)));
    if (payload == nullptr) {
      payload = data + at;
    } else {
      std::memmove(payload + payload_size, data + at, part);
    }
    payload_size += part;
    at += part;
    left_ -= static_cast<int64_t>(part);
    if (left_ == 0) state_ = State::kDataCr;
  }
  step.payload = std::string_view(payload, payload_size);
  step.consumed = at;
  return true;
}

bool ChunkDecoder::EndSizeLine() {
  if (digits_ == 0) return false;
  state_ = left_ == 0 ? State::kTrailer : State::kData;
  digits_ = 0;
  overhead_ = 0;
  line_empty_ = true;
  return true;
}

bool ChunkDecoder::Control(char c) {
  switch (state_) {
    case State::kSize:
      if (const int digit = HexDigit(c); digit >= 0) {
        if (++digits_ > 16 || left_ > kSizeMax) return false;
        left_ = left_ * 16 + digit;
        return true;
      }
      if (digits_ == 0) return false;
      if (c == '\r') {
        state_ = State::kSizeLf;
        return true;
      }
      state_ = State::kExtension;
      return c == ';' || c == ' ' || c == '\t';
    case State::kExtension:
      if (c == '\r') state_ = State::kSizeLf;
      return c != '\n' && c != '\0' && ++overhead_ <= kOverheadMax;
    case State::kSizeLf:
      return c == '\n' && EndSizeLine();
    case State::kDataCr:
      state_ = State::kDataLf;
      return c == '\r';
    case State::kDataLf:
      state_ = State::kSize;
      return c == '\n';
    case State::kTrailer:
      if (c == '\r') {
        state_ = State::kTrailerLf;
        return true;
      }
      line_empty_ = false;
      return c != '\n' && c != '\0' && ++overhead_ <= kOverheadMax;
    case State::kTrailerLf:
      state_ = line_empty_ ? State::kDone : State::kTrailer;
      line_empty_ = true;
      return c == '\n';
    case State::kData:
    case State::kDone:
      break;
  }
  return false;
}

}  // namespace spillway
