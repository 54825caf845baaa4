// The unit of work is a block: an event with its blank line, a lone comment line, a blank line too
// many. Blocks that one read holds whole are looked at in place and forwarded in one view. Only the
// last, incomplete one is copied, and waits for its end: no client can use half an event, and one
// that was cut must not reach its parser. An event of 300 bytes costs 80 ns (170 ns when a read
// ends inside it).
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "dataplane/dialect/answer_json.h"
#include "dataplane/dialect/byte_scan.h"
#include "dataplane/dialect/event_facts.h"
#include "dataplane/dialect/openai.h"

namespace spillway::openai {
namespace {

constexpr size_t kHeldKept = size_t{4} * 1024;
constexpr size_t kTierKept = 64;  // no tier's name is as long
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

std::string_view TrimLineEnds(std::string_view text) {
  while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

std::string_view TrimSpace(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

// The value when `line` is a data line.
std::optional<std::string_view> DataOfLine(std::string_view line) {
  if (!line.starts_with("data")) return std::nullopt;
  line.remove_prefix(4);
  if (line.empty()) return line;
  if (!line.starts_with(':')) return std::nullopt;
  line.remove_prefix(line.starts_with(": ") ? 2 : 1);
  return line;
}

// The data of a block of several lines, joined as the event stream format says.
std::string JoinData(std::string_view block) {
  std::string data;
  bool any = false;
  while (!block.empty()) {
    const char* const end = FindLineEnd(block.data(), block.data() + block.size());
    const std::string_view line = block.substr(0, static_cast<size_t>(end - block.data()));
    block.remove_prefix(std::min(block.size(), line.size() + 1));
    const auto value = DataOfLine(line);
    if (!value) continue;
    if (any) data += '\n';
    any = true;
    data += *value;
  }
  return data;
}

// `begin` are the first bytes of a stream, perhaps not all of a line yet.
bool BeginsLikeEvents(std::string_view begin) {
  constexpr std::array<std::string_view, 8> kStarts = {"data", "event", "id", "retry",
                                                       ":",    "\n",    "\r", kByteOrderMark};
  return std::ranges::any_of(
      kStarts, [&](std::string_view s) { return begin.starts_with(s) || s.starts_with(begin); });
}

}  // namespace

// The keys that matter are the same in both operations that stream.
StreamScanner::StreamScanner(Operation /*operation*/, bool hide_usage_event,
                             std::string_view secret)
    : hide_usage_event_(hide_usage_event), secret_(secret) {}

// Goes on where the last read stopped, also inside a CRLF.
size_t StreamScanner::FindBlockEnd(std::string_view bytes, size_t from) {
  const char* const end = bytes.data() + bytes.size();
  const char* p = bytes.data() + from;
  if (after_cr_ && p < end) {
    after_cr_ = false;
    if (*p == '\n') ++p;
  }
  while (p < end) {
    if (at_line_begin_) in_comment_ = *p == ':';
    const char* const eol = FindLineEnd(p, end);
    if (eol == end) {
      at_line_begin_ = false;
      break;
    }
    const bool blank = at_line_begin_ && eol == p;
    at_line_begin_ = true;
    p = eol + 1;
    if (*eol == '\r') {
      after_cr_ = p == end;
      if (p < end && *p == '\n') ++p;
    }
    if (!blank) ++block_lines_;
    // A comment between events needs no blank line: heartbeats go out at once.
    if (blank || (in_comment_ && block_lines_ == 1)) return static_cast<size_t>(p - bytes.data());
  }
  return std::string_view::npos;
}

// A CR ended the last block at the end of a read; the LF that may follow shares its fate.
size_t StreamScanner::TakeLateLineFeed(std::string_view bytes, std::vector<std::string_view>& out) {
  if (!after_cr_ || !held_.empty() || bytes.empty()) return 0;
  after_cr_ = false;
  if (bytes[0] != '\n') return 0;
  if (!last_hidden_) out.push_back(bytes.substr(0, 1));
  return 1;
}

// Adds what came to the incomplete block of earlier reads, up to its end if that is here; then it
// is forwarded. `at` is where it stopped.
bool StreamScanner::Resume(std::string_view bytes, size_t& at, std::vector<std::string_view>& out) {
  const size_t end = FindBlockEnd(bytes, 0);
  const bool whole = end != std::string_view::npos;
  at = whole ? end : bytes.size();
  held_.append(bytes, 0, at);
  bool hide = false;
  if (!started_ && !BeginsLikeEvents(held_)) return false;
  if (whole ? !OnBlock(held_, hide) : held_.size() > kEventBytesMax) return false;
  if (!whole) return true;
  released_.swap(held_);
  if (!hide) out.emplace_back(released_);
  return true;
}

bool StreamScanner::Feed(std::string_view bytes, std::vector<std::string_view>& out) {
  released_.clear();
  if (released_.capacity() > kHeldKept) released_.shrink_to_fit();
  size_t at = TakeLateLineFeed(bytes, out);
  if (!held_.empty() && !Resume(bytes, at, out)) return false;
  size_t run = at;
  const auto forward_to = [&](size_t end) {
    if (end > run) out.push_back(bytes.substr(run, end - run));
  };
  while (at < bytes.size()) {
    const size_t end = FindBlockEnd(bytes, at);
    if (end == std::string_view::npos) break;
    bool hide = false;
    const bool good = OnBlock(bytes.substr(at, end - at), hide);
    if (!good || hide) {
      forward_to(at);
      run = end;
    }
    if (!good) return false;
    at = end;
  }
  mid_event_ = at < bytes.size() || !held_.empty();
  forward_to(at);
  if (at == bytes.size()) return true;
  held_.assign(bytes, at);
  return held_.size() <= kEventBytesMax && (started_ || BeginsLikeEvents(held_));
}

bool StreamScanner::OnBlock(std::string_view block, bool& hide) {
  const int lines = std::exchange(block_lines_, 0);
  last_hidden_ = false;
  if (block.size() > kEventBytesMax) return false;
  if (!started_) {
    started_ = true;
    if (!BeginsLikeEvents(block)) return false;
    if (block.starts_with(kByteOrderMark)) block.remove_prefix(kByteOrderMark.size());
  }
  if (lines == 0) return true;
  if (lines > 1) {
    const std::string data = JoinData(block);
    return OnEvent(data, hide);
  }
  const auto data = DataOfLine(TrimLineEnds(block));
  return !data || OnEvent(*data, hide);
}

bool StreamScanner::OnEvent(std::string_view data, bool& hide) {
  data = TrimSpace(data);
  if (data.empty()) return true;
  if (data.starts_with("[DONE]")) {
    done_ = true;
    return true;
  }
  if (data.front() != '{' || data.back() != '}') return false;
  if (!simdjson::validate_utf8(data.data(), data.size())) return false;
  ++events_;
  const EventFacts facts = LookAt(data);
  finishes_ += facts.finishes;
  const bool content = facts.content_bytes > 0 || facts.data;
  if (content) ++content_events_;
  usage_outdated_ |= content && usage_.has_value();
  content_bytes_ += facts.content_bytes;
  if (!facts.service_tier.empty() && facts.service_tier != tier_) {
    tier_ = facts.service_tier.substr(0, kTierKept);
  }
  if (!facts.usage_object && !facts.error) return true;

  const AnswerFacts answer = ReadEvent(data);
  if (!answer.is_object) return false;
  if (answer.usage) {
    usage_ = answer.usage;
    usage_outdated_ = false;
  }
  error_seen_ |= answer.is_error;
  withheld_ |= answer.is_error && !secret_.empty() && data.contains(secret_);
  if (withheld_) return false;
  hide = hide_usage_event_ && answer.has_usage && answer.choices_empty;
  last_hidden_ = hide;
  return true;
}

void StreamScanner::Finish(std::vector<std::string_view>& out) {
  released_.clear();
  if (held_.empty()) return;
  std::string_view block = held_;
  if (!started_ && block.starts_with(kByteOrderMark)) block.remove_prefix(kByteOrderMark.size());
  const std::string joined = JoinData(block);
  const std::string_view data = TrimSpace(joined);
  const bool complete = data.empty() || data.starts_with("[DONE]") || ReadEvent(data).is_object;
  bool hide = false;
  mid_event_ = !complete || !OnEvent(data, hide);
  if (!mid_event_ && !hide) {
    released_ = held_;
    out.emplace_back(released_);
  }
  held_.clear();
}

int64_t StreamScanner::OutputTokensEstimate(int64_t most) const {
  const int64_t by_text = EstimateInputTokens(static_cast<size_t>(content_bytes_));
  return std::max(content_events_, std::min(by_text, most));
}

}  // namespace spillway::openai
