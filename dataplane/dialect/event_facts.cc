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
  bool Matches(const char* quote, std::string_view key) const;
  const char* ValueBehind(const char* quote) const;
  void OnText(const char* value);

  const char* const begin_;
  const char* const end_;
  EventFacts facts_;
};

bool KeyWalk::Matches(const char* quote, std::string_view key) const {
  const auto size = static_cast<std::ptrdiff_t>(key.size());
  return quote - begin_ > size && quote[-size - 1] == '"' &&
         std::memcmp(quote - size, key.data(), key.size()) == 0;
}

// The value's first byte; nullptr when no colon follows, or nothing behind it.
const char* KeyWalk::ValueBehind(const char* quote) const {
  const char* p = SkipJsonSpace(quote + 1, end_);
  if (p == end_ || *p != ':') return nullptr;
  p = SkipJsonSpace(p + 1, end_);
  return p == end_ ? nullptr : p;
}

void KeyWalk::OnText(const char* value) {
  if (*value == '"') facts_.content_bytes += FindClosingQuote(value + 1, end_) - value - 1;
}

// The last letter tells most keys apart.
void KeyWalk::OnQuote(const char* quote) {
  if (quote == begin_) return;
  const auto value_of = [&](std::string_view key) {
    return Matches(quote, key) ? ValueBehind(quote) : nullptr;
  };
  const auto text_of = [&](std::string_view key) {
    if (const char* const value = value_of(key)) OnText(value);
  };
  switch (quote[-1]) {
    case 'e':
      if (const char* const value = value_of("usage")) facts_.usage_object |= *value == '{';
      break;
    case 'r':
      if (const char* const value = value_of("error")) facts_.error |= *value != 'n';
      break;
    case 'n':
      if (const char* const value = value_of("finish_reason")) facts_.finish |= *value == '"';
      break;
    case 't':
      text_of("content");
      text_of("text");
      text_of("reasoning_content");
      break;
    case 's':
      text_of("arguments");
      break;
    case 'g':
      text_of("reasoning");
      break;
    case 'l':
      text_of("refusal");
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

bool MayBeUsageEvent(std::string_view partial) {
  constexpr std::string_view kKey = "\"choices\"";
  const size_t key = partial.find(kKey);
  if (key == partial.npos) return true;
  const char* const end = partial.data() + partial.size();
  const char* p = SkipJsonSpace(partial.data() + key + kKey.size(), end);
  if (p == end) return true;
  if (*p != ':') return false;
  p = SkipJsonSpace(p + 1, end);
  if (p == end) return true;
  if (*p != '[') return false;
  p = SkipJsonSpace(p + 1, end);
  return p == end || *p == ']';
}

}  // namespace spillway::openai
