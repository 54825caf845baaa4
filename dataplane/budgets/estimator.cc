#include "dataplane/budgets/estimator.h"

#include <algorithm>
#include <bit>
#include <functional>

namespace spillway {
namespace {

constexpr int64_t kTokensPerMediaLikely = 1000;
constexpr uint64_t kRatioOne = 1 << 16;            // a token per byte
constexpr uint64_t kRatioDefault = kRatioOne / 4;  // four bytes per token
constexpr uint64_t kRatioMax = kRatioOne * 4;
constexpr uint64_t kWeightMax = 16;  // a sample counts for at least 1/16
constexpr int64_t kBytesLearntMin = 16;
constexpr uint32_t kSamplesMin = 10;    // before a quantile means something
constexpr uint32_t kSamplesMax = 4096;  // then the older half fades
constexpr uint32_t kRefreshEvery = 8;
constexpr size_t kProbes = 8;
constexpr size_t kSubBuckets = 8;

uint64_t HashOfName(std::string_view name) {
  const auto hash = static_cast<uint64_t>(std::hash<std::string_view>()(name));
  return hash == 0 ? 1 : hash;
}

// Eight equal steps within each doubling; below 8 every count has its own.
size_t BucketOf(int64_t tokens, size_t buckets) {
  const auto value = static_cast<uint64_t>(std::clamp<int64_t>(tokens, 0, Estimator::kTokensMax));
  if (value < kSubBuckets) return static_cast<size_t>(value);
  const auto power = static_cast<size_t>(std::bit_width(value)) - 4;  // 8..15 -> 0
  const size_t step = static_cast<size_t>(value >> power) - kSubBuckets;
  return std::min(buckets - 1, kSubBuckets + power * kSubBuckets + step);
}

// The largest count of a bucket.
int64_t TopOf(size_t bucket) {
  if (bucket < kSubBuckets) return static_cast<int64_t>(bucket);
  const size_t power = (bucket - kSubBuckets) / kSubBuckets;
  const size_t step = (bucket - kSubBuckets) % kSubBuckets;
  return static_cast<int64_t>(((kSubBuckets + step + 1) << power) - 1);
}

}  // namespace

struct Estimator::Tables {
  std::array<RatioSlot, kNamesMax> ratios;
  std::array<LengthSlot, kNamesMax> lengths;
  RatioSlot all_models;
  LengthSlot all_routes;
};

Estimator::Estimator() : tables_(std::make_unique<Tables>()) {}
Estimator::~Estimator() = default;

// The slot of a name, taken for it when it has none; nullptr: the table is full around its place.
template <typename Slots>
auto* Estimator::Find(Slots& slots, std::string_view name) {
  const uint64_t hash = HashOfName(name);
  for (size_t probe = 0; probe < kProbes; ++probe) {
    auto& slot = slots[(hash + probe) % slots.size()];
    uint64_t taken = slot.name.load(std::memory_order_relaxed);
    if (taken == hash) return &slot;
    if (taken == 0 && slot.name.compare_exchange_strong(taken, hash, std::memory_order_relaxed))
      return &slot;
    if (taken == hash) return &slot;
  }
  return static_cast<decltype(&slots[0])>(nullptr);
}

// An average over all samples at first, then a moving one. Ratio and count change together.
void Estimator::Teach(RatioSlot& slot, int64_t bytes, int64_t tokens) {
  const uint64_t sample =
      std::min(static_cast<uint64_t>(tokens) * kRatioOne / static_cast<uint64_t>(bytes), kRatioMax);
  const uint64_t old = slot.ratio.load(std::memory_order_relaxed);
  const uint64_t count = std::min<uint64_t>((old >> 32) + 1, kWeightMax);
  const auto before = static_cast<int64_t>(old & UINT32_MAX);
  const int64_t after =
      before + (static_cast<int64_t>(sample) - before) / static_cast<int64_t>(count);
  slot.ratio.store(count << 32 | static_cast<uint64_t>(after), std::memory_order_relaxed);
}

void Estimator::Teach(LengthSlot& slot, int64_t tokens) {
  slot.counts[BucketOf(tokens, kBuckets)].fetch_add(1, std::memory_order_relaxed);
  uint32_t samples = slot.samples.fetch_add(1, std::memory_order_relaxed) + 1;
  if (samples < kSamplesMin || (samples % kRefreshEvery != 0 && samples != kSamplesMin)) return;
  if (samples >= kSamplesMax) {
    for (auto& count : slot.counts)
      count.store(count.load(std::memory_order_relaxed) / 2, std::memory_order_relaxed);
    slot.samples.store(samples / 2, std::memory_order_relaxed);
  }
  uint64_t sum = 0;
  for (const auto& count : slot.counts) sum += count.load(std::memory_order_relaxed);
  const uint64_t wanted = (sum * 9 + 9) / 10;  // of ten calls nine are at most that long
  uint64_t seen = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    seen += slot.counts[i].load(std::memory_order_relaxed);
    if (seen < wanted) continue;
    slot.quantile.store(std::max<int64_t>(TopOf(i), 1), std::memory_order_relaxed);
    return;
  }
}

void Estimator::Learn(const CallShape& shape, const TokenUsage& usage) {
  const int64_t text_bytes = shape.body_bytes - shape.media_bytes;
  const int64_t input = std::min(usage.input, Estimator::kTokensMax);
  // Media would teach the text's ratio something wrong.
  if (shape.media_parts == 0 && text_bytes >= kBytesLearntMin && input > 0) {
    Teach(tables_->all_models, text_bytes, input);
    if (RatioSlot* slot = Find(tables_->ratios, shape.model.name)) Teach(*slot, text_bytes, input);
  }
  if (!shape.makes_output || usage.output <= 0) return;
  const int64_t each = usage.output / std::max<int64_t>(shape.choices, 1);
  Teach(tables_->all_routes, each);
  if (LengthSlot* slot = Find(tables_->lengths, shape.route)) Teach(*slot, each);
}

int64_t Estimator::InputTokens(std::string_view model, int64_t bytes) const {
  const RatioSlot* slot = Find(tables_->ratios, model);
  uint64_t ratio = slot == nullptr ? 0 : slot->ratio.load(std::memory_order_relaxed);
  if (ratio >> 32 == 0) ratio = tables_->all_models.ratio.load(std::memory_order_relaxed);
  const uint64_t per_byte = ratio >> 32 == 0 ? kRatioDefault : ratio & UINT32_MAX;
  const auto size = static_cast<uint64_t>(std::clamp<int64_t>(bytes, 0, Estimator::kTokensMax));
  return static_cast<int64_t>((size * per_byte + kRatioOne - 1) / kRatioOne);
}

int64_t Estimator::LikelyOutput(const CallShape& shape) const {
  if (!shape.makes_output) return 0;
  const LengthSlot* slot = Find(tables_->lengths, shape.route);
  int64_t each = slot == nullptr ? 0 : slot->quantile.load(std::memory_order_relaxed);
  if (each == 0) each = tables_->all_routes.quantile.load(std::memory_order_relaxed);
  if (each == 0) each = kOutputTokensDefault;
  if (shape.output_tokens_max > 0) each = std::min(each, shape.output_tokens_max);
  if (shape.model.output_tokens_max > 0) each = std::min(each, shape.model.output_tokens_max);
  const int64_t choices = std::max<int64_t>(shape.choices, 1);
  return each > kTokensMax / choices ? kTokensMax : each * choices;
}

Estimate Estimator::Of(const CallShape& shape) const {
  Estimate out;
  out.likely.input =
      InputTokens(shape.model.name, std::max<int64_t>(shape.body_bytes - shape.media_bytes, 0)) +
      shape.media_parts * kTokensPerMediaLikely;
  out.likely.output = LikelyOutput(shape);
  const std::string_view tier = shape.service_tier == "auto" ? "" : shape.service_tier;
  const int64_t bound = OutputBound(shape);
  out.ask.upper_bound = CostBound(shape, bound);
  out.ask.quantile = std::min(CostOf(out.likely, shape.model.price, tier), out.ask.upper_bound);
  out.ask.least = CostBound(shape, std::min(bound, kOutputTokensLeast));
  return out;
}

}  // namespace spillway
