#include "dataplane/snapshot/generations.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <format>
#include <sstream>
#include <utility>

#include "common/crypto/crc32c.h"
#include "common/crypto/sha256.h"
#include "dataplane/snapshot/checked_text.h"
#include "dataplane/snapshot/refusal.h"

namespace spillway {
namespace {

constexpr std::string_view kBase = ".base";
constexpr std::string_view kLog = ".log";
constexpr std::string_view kHeld = ".held";
constexpr int64_t kFenceBytesMax = int64_t{64} * 1024;
constexpr int64_t kLogBytesMax = int64_t{1} << 30;
constexpr size_t kFrameBytes = 8;

uint32_t WordAt(std::string_view bytes, size_t at) {
  uint32_t word = 0;
  std::memcpy(&word, bytes.data() + at, sizeof(word));
  return word;
}

void AppendRecord(std::string_view record, std::string& out) {
  const std::array<uint32_t, 2> frame = {static_cast<uint32_t>(record.size()), Crc32c(record)};
  out.append(reinterpret_cast<const char*>(frame.data()), sizeof(frame));
  out += record;
}

// Reads records until the first that is torn, damaged or follows nothing.
void ReadLog(std::string_view log, const ProofReader& reader, LoadedGeneration& generation) {
  v1::Position head = generation.lineage.full->position;
  for (size_t at = 0; log.size() - at >= kFrameBytes;) {
    const uint32_t size = WordAt(log, at);
    if (size > log.size() - at - kFrameBytes) return;
    const std::string_view record = log.substr(at + kFrameBytes, size);
    if (Crc32c(record) != WordAt(log, at + 4)) return;
    v1::Signed message;
    if (!message.ParseFromArray(record.data(), static_cast<int>(record.size()))) return;
    if (message.purpose() == v1::Signed::PURPOSE_LATEST) {
      auto latest = reader.ReadLatest(std::string(record));
      if (!latest) return;
      generation.confirmed.push_back(*std::move(latest));
    } else {
      auto delta = reader.ReadDelta(std::string(record));
      if (!delta) return;
      // What is held may be written again when more is held: the second time says nothing new.
      if (delta->delta.position().revision() > head.revision()) {
        if (delta->delta.base().revision() != head.revision() ||
            delta->delta.base().digest() != head.digest()) {
          return;
        }
        generation.lineage.deltas.push_back(*std::move(delta));
        head = generation.lineage.deltas.back().delta.position();
      }
    }
    at += kFrameBytes + size;
    generation.log_bytes = static_cast<int64_t>(at);
  }
}

}  // namespace

Result<Generations> Generations::Open(std::string folder) {
  SW_CHECK(durable::MakeFolder(folder));
  Generations generations(std::move(folder));
  generations.LoadFence();
  return generations;
}

std::string Generations::PathOf(int64_t number, std::string_view suffix) const {
  return std::format("{}/{:010}{}", folder_, number, suffix);
}

std::vector<int64_t> Generations::Numbers(std::string_view suffix) const {
  std::vector<int64_t> numbers;
  for (const std::string& name : durable::ListFolder(folder_)) {
    if (!name.ends_with(suffix)) continue;
    int64_t number = 0;
    const char* end = name.data() + name.size() - suffix.size();
    const auto [rest, error] = std::from_chars(name.data(), end, number);
    if (error == std::errc{} && rest == end && number > 0) numbers.push_back(number);
  }
  std::ranges::sort(numbers, std::greater<>());
  return numbers;
}

std::vector<int64_t> Generations::List() const {
  std::vector<int64_t> numbers = Numbers(kBase);
  std::ranges::copy(Numbers(kHeld), std::back_inserter(numbers));
  std::ranges::sort(numbers, std::greater<>());
  return numbers;
}

Result<void> Generations::CheckFence(int64_t number, const v1::Position& position) const {
  if (!fence_.cluster_id.empty() && position.cluster_id() != fence_.cluster_id) {
    return Refuse(RefusalClass::kCluster, std::format("is of cluster {}, this data-dir of {}",
                                                      position.cluster_id(), fence_.cluster_id));
  }
  if (position.epoch() >= fence_.epoch) return {};
  // An older generation of ours is good, a file put in its place is not.
  const auto begin = begins_.find(number);
  const Begin found{position.epoch(), position.revision(), HexOf(position.digest())};
  if (begin != begins_.end() && begin->second == found) return {};
  return Refuse(RefusalClass::kEpoch, std::format("epoch {} is older than {}, which was seen",
                                                  position.epoch(), fence_.epoch));
}

Result<LoadedGeneration> Generations::Load(int64_t number, const ProofReader& reader) const {
  LoadedGeneration generation{
      .number = number, .held = false, .lineage = {}, .confirmed = {}, .log_bytes = 0};
  const int64_t bytes_max =
      reader.limits().compressed_bytes_max + reader.limits().message_bytes_max;
  auto file = durable::ReadFile(PathOf(number, kBase), bytes_max);
  if (!file && file.error().code == ErrorCode::kNotFound) {
    file = durable::ReadFile(PathOf(number, kHeld), bytes_max);
    generation.held = true;
  }
  if (!file) return std::unexpected(std::move(file).error());
  SW_TRY(generation.lineage.full, reader.ReadFile(*file));
  SW_CHECK(CheckFence(number, generation.lineage.full->position));
  if (generation.held) return generation;
  if (const auto log = durable::ReadFile(PathOf(number, kLog), kLogBytesMax); log)
    ReadLog(*log, reader, generation);
  return generation;
}

Result<int64_t> Generations::WriteBase(const v1::Position& position, const std::string& file,
                                       std::string_view suffix) {
  const std::vector<int64_t> numbers = List();
  const int64_t number = numbers.empty() ? 1 : numbers.front() + 1;
  // The log of that number may be left over from a base that never appeared.
  ::unlink(PathOf(number, kLog).c_str());
  SW_CHECK(durable::WriteFile(PathOf(number, suffix), file));
  begins_[number] = {position.epoch(), position.revision(), HexOf(position.digest())};
  return number;
}

Result<void> Generations::Start(const v1::Position& position, const std::string& file) {
  SW_TRY(const int64_t number, WriteBase(position, file, kBase));
  SW_CHECK(Continue(number, position, 0));
  base_bytes_ = static_cast<int64_t>(file.size());
  Prune();
  return SaveFence(fence_);
}

Result<void> Generations::Hold(const v1::Position& position, const std::string& file) {
  SW_TRY([[maybe_unused]] const int64_t number, WriteBase(position, file, kHeld));
  Prune();
  return SaveFence(fence_);
}

Result<void> Generations::Continue(int64_t number, const v1::Position& begin, int64_t log_bytes) {
  log_path_ = PathOf(number, kLog);
  SW_TRY(log_, durable::FileHandle::Open(log_path_, O_WRONLY | O_CREAT | O_APPEND));
  if (::ftruncate(log_.fd(), log_bytes) != 0) {
    auto failure = durable::FailErrno("cannot cut", log_path_);
    log_.Close();
    return failure;
  }
  log_bytes_ = log_bytes;
  begins_[number] = {begin.epoch(), begin.revision(), HexOf(begin.digest())};
  std::error_code failed;
  const auto size = std::filesystem::file_size(PathOf(number, kBase), failed);
  base_bytes_ = failed ? 0 : static_cast<int64_t>(size);
  return durable::SyncFolder(folder_);
}

Result<void> Generations::Append(const std::vector<std::string>& signed_records) {
  if (!log_.is_open()) return Fail(ErrorCode::kNotFound, "no generation to append to");
  std::string bytes;
  for (const std::string& record : signed_records) AppendRecord(record, bytes);
  auto written = log_.Write(bytes, log_path_);
  if (written && ::fdatasync(log_.fd()) != 0)
    written = durable::FailErrno("cannot sync", log_path_);
  if (written) {
    log_bytes_ += static_cast<int64_t>(bytes.size());
  } else if (::ftruncate(log_.fd(), log_bytes_) != 0) {
    log_.Close();
  }
  return written;
}

void Generations::Prune() {
  const std::vector<int64_t> bases = Numbers(kBase);
  for (size_t i = kKept; i < bases.size(); ++i) {
    ::unlink(PathOf(bases[i], kBase).c_str());
    ::unlink(PathOf(bases[i], kLog).c_str());
    begins_.erase(bases[i]);
  }
  const std::vector<int64_t> held = Numbers(kHeld);
  for (size_t i = 1; i < held.size(); ++i) {
    ::unlink(PathOf(held[i], kHeld).c_str());
    begins_.erase(held[i]);
  }
}

void Generations::LoadFence() {
  const auto file = durable::ReadFile(folder_ + "/fence", kFenceBytesMax);
  if (!file) return;
  const auto content = CheckedContent(*file);
  if (!content) return;
  std::istringstream lines(*content);
  std::string word;
  while (lines >> word) {
    int64_t number = 0;
    Begin begin;
    if (word == "cluster") {
      lines >> fence_.cluster_id;
    } else if (word == "epoch") {
      lines >> fence_.epoch;
    } else if (word == "fleet") {
      lines >> fence_.fleet_size;
    } else if (word == "generation" &&
               lines >> number >> begin.epoch >> begin.revision >> begin.digest_hex) {
      begins_[number] = begin;
    }
  }
}

Result<void> Generations::SaveFence(const Fence& fence) {
  fence_ = fence;
  std::string content;
  if (!fence.cluster_id.empty()) content += std::format("cluster {}\n", fence.cluster_id);
  content += std::format("epoch {}\nfleet {}\n", fence.epoch, fence.fleet_size);
  for (const auto& [number, begin] : begins_) {
    content += std::format("generation {} {} {} {}\n", number, begin.epoch, begin.revision,
                           begin.digest_hex);
  }
  return durable::WriteFile(folder_ + "/fence", WithChecksum(std::move(content)));
}

}  // namespace spillway
