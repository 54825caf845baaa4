#include "dataplane/dialect/event_facts.h"

#include <cstring>

#include "dataplane/dialect/byte_scan.h"

namespace spillway::openai {
namespace {

// Walks over the keys of one event: the places where a quote closes and a colon follows.
class KeyWalk {
 public:
  explicit KeyWalk(std::string_view data) : begin_(data.data()), end_(begin_ + data.size()) {}

  EventFacts Run();

 private:
  void OnQuote(const char* quote);
  // The value behind the key `key` that ends with `quote`; nullptr when it is another one.
  // Literals, so that the comparison is inlined.
  template <size_t N>
  const char* ValueOf(const char (&key)[N], const char* quote) const {
    constexpr auto kSize = static_cast<std::ptrdiff_t>(N - 1);
    if (quote - begin_ <= kSize || quote[-kSize - 1] != '"') return nullptr;
    return std::memcmp(quote - kSize, key, N - 1) == 0 ? ValueBehind(quote) : nullptr;
  }
  const char* ValueBehind(const char* quote) const;
  void OnText(const char* value);
  bool IsText(const char* value) const {
    return end_ - value > 1 && value[0] == '"' && value[1] != '"';
  }
  void OnTier(const char* value);

  const char* const begin_;
  const char* const end_;
  EventFacts facts_;
};

// The value's first byte; nullptr when no colon follows, or nothing behind it.
const char* KeyWalk::ValueBehind(const char* quote) const {
  const char* p = SkipJsonSpace(quote + 1, end_);
  if (p == end_ || *p != ':') return nullptr;
  p = SkipJsonSpace(p + 1, end_);
  return p == end_ ? nullptr : p;
}

void KeyWalk::OnText(const char* value) {
  if (value == nullptr || *value != '"') return;
  facts_.content_bytes += FindClosingQuote(value + 1, end_) - value - 1;
}

void KeyWalk::OnTier(const char* value) {
  if (*value != '"') return;
  const char* const quote = FindClosingQuote(value + 1, end_);
  if (quote < end_) facts_.service_tier = {value + 1, static_cast<size_t>(quote - value - 1)};
}

// The last letter tells most keys apart.
void KeyWalk::OnQuote(const char* quote) {
  if (quote == begin_) return;
  switch (quote[-1]) {
    case 'a':
      if (const char* const value = ValueOf("data", quote)) facts_.data |= IsText(value);
      break;
    case 'e':
      if (const char* const value = ValueOf("usage", quote)) facts_.usage_object |= *value == '{';
      break;
    case 'r':
      if (const char* const value = ValueOf("error", quote)) facts_.error |= *value != 'n';
      if (const char* const value = ValueOf("service_tier", quote)) OnTier(value);
      break;
    case 'n':
      if (const char* const value = ValueOf("finish_reason", quote))
        facts_.finishes += *value == '"' ? 1 : 0;
      break;
    case 't':
      OnText(ValueOf("content", quote));
      OnText(ValueOf("text", quote));
      OnText(ValueOf("reasoning_content", quote));
      OnText(ValueOf("input", quote));
      OnText(ValueOf("transcript", quote));
      break;
    case 's':
      OnText(ValueOf("arguments", quote));
      break;
    case 'g':
      OnText(ValueOf("reasoning", quote));
      break;
    case 'l':
      OnText(ValueOf("refusal", quote));
      break;
    default:
      break;
  }
}

EventFacts KeyWalk::Run() {
  const char* p = begin_;
#if defined(__SSE2__)
  const __m128i quote = _mm_set1_epi8('"');
  const __m128i colon = _mm_set1_epi8(':');
  const __m128i space = _mm_set1_epi8(' ');
  for (; end_ - p > 16; p += 16) {
    const __m128i next = Load16(p + 1);
    // A colon, or white space that may stand before one.
    const __m128i follows =
        _mm_or_si128(_mm_cmpeq_epi8(next, colon), _mm_cmpeq_epi8(_mm_min_epu8(next, space), next));
    uint32_t hits = Mask(_mm_and_si128(_mm_cmpeq_epi8(Load16(p), quote), follows));
    for (; hits != 0; hits &= hits - 1) OnQuote(p + std::countr_zero(hits));
  }
#endif
  for (; p < end_; ++p) {
    if (*p == '"') OnQuote(p);
  }
  return facts_;
}

}  // namespace

EventFacts LookAt(std::string_view data) { return KeyWalk(data).Run(); }

}  // namespace spillway::openai
