#include "dataplane/metering/account_charges.h"

#include <algorithm>
#include <filesystem>

#include "common/durable_file.h"
#include "common/log.h"
#include "dataplane/metering/frame.h"
#include "dataplane/metering/record_encoding.h"

namespace spillway {
namespace {

constexpr std::string_view kFile = "/charges";
// Of accounts in one Closed record; the frame takes a little more.
constexpr size_t kClosedBytesMax = kRecordBytesMax - 512;

// `closed` in pieces that a record can hold.
void Split(const v1::Closed& closed, std::vector<v1::Closed>& out) {
  size_t bytes = 0;
  v1::Closed* part = nullptr;
  for (const v1::AccountCharge& charge : closed.accounts()) {
    const size_t size = charge.ByteSizeLong() + 4;
    if (part == nullptr || bytes + size > kClosedBytesMax) {
      part = &out.emplace_back();
      part->set_holder(closed.holder());
      part->set_at_recorded_level(closed.at_recorded_level());
      bytes = 0;
    }
    bytes += size;
    *part->add_accounts() = charge;
  }
  if (part == nullptr && closed.holder().empty()) out.push_back(closed);
}

// The next start looks at it no more; who repairs it still can.
void SetAside(const std::string& path) {
  std::error_code ignored;
  std::filesystem::rename(path, path + ".damaged", ignored);
}

}  // namespace

void AccountCharges::Add(std::string_view holder, std::string_view account, Nanos charged) {
  const std::pair<std::string_view, std::string_view> key(holder, account);
  auto at = sums_.find(key);
  if (at == sums_.end()) at = sums_.emplace(Key(holder, account), 0).first;
  at->second += charged;
}

void AccountCharges::AddRecord(std::string_view record) {
  ForEachCharge(record, [this](const RecordCharge& charge) {
    Add(charge.holder, charge.account, charge.charged);
  });
}

void AccountCharges::EraseIf(const std::function<bool(const v1::Account&)>& old) {
  std::erase_if(sums_, [&old](const auto& sum) {
    v1::Account account;
    return account.ParseFromString(sum.first.second) && old(account);
  });
}

std::vector<v1::Closed> AccountCharges::ToClosed() const {
  std::vector<v1::Closed> holders;
  for (const auto& [key, charged] : sums_) {
    if (holders.empty() || holders.back().holder() != key.first)
      holders.emplace_back().set_holder(key.first);
    v1::AccountCharge& charge = *holders.back().add_accounts();
    charge.mutable_account()->ParseFromString(key.second);
    charge.set_charged(charged);
  }
  return holders;
}

void AccountCharges::Add(const v1::Closed& closed) {
  for (const v1::AccountCharge& charge : closed.accounts())
    Add(closed.holder(), charge.account().SerializeAsString(), charge.charged());
}

std::vector<v1::UsageRecord> ClosingRecords(const std::vector<v1::Closed>& holders,
                                            int64_t first_seq, int64_t time_ms) {
  std::vector<v1::Closed> parts;
  for (const v1::Closed& closed : holders)
    if (!closed.holder().empty()) Split(closed, parts);
  // The incarnation's own last: also without accounts, the last record is about it.
  const size_t others = parts.size();
  for (const v1::Closed& closed : holders)
    if (closed.holder().empty()) Split(closed, parts);
  if (parts.size() == others) parts.emplace_back();
  std::vector<v1::UsageRecord> records;
  for (v1::Closed& part : parts) {
    part.set_last_seq(first_seq + static_cast<int64_t>(parts.size()) - 1);
    v1::UsageRecord& record = records.emplace_back();
    record.set_time_ms(time_ms);
    *record.mutable_closed() = std::move(part);
  }
  return records;
}

Result<void> SaveFreedCharges(const std::string& folder, int64_t upto_seq,
                              const AccountCharges& charges) {
  v1::JournalCharges stored;
  stored.set_upto_seq(upto_seq);
  for (v1::Closed& closed : charges.ToClosed()) *stored.add_holders() = std::move(closed);
  return durable::WriteFile(folder + std::string(kFile), stored.SerializeAsString());
}

Result<FreedCharges> LoadFreedCharges(const std::string& folder) {
  const std::string path = folder + std::string(kFile);
  auto bytes = durable::ReadFile(path);
  const bool too_large = !bytes && bytes.error().code == ErrorCode::kInvalidConfig;
  if (!bytes && !too_large) {
    if (bytes.error().code == ErrorCode::kNotFound) return FreedCharges{};
    return std::unexpected(std::move(bytes).error());
  }
  v1::JournalCharges stored;
  if (too_large || !stored.ParseFromString(*bytes)) {
    log::Fault("what freed usage records charged cannot be read; the ledger counts by its own",
               {{"file", path}});
    SetAside(path);
    return FreedCharges{};
  }
  FreedCharges freed{.upto_seq = stored.upto_seq()};
  for (const v1::Closed& closed : stored.holders()) freed.charges.Add(closed);
  return freed;
}

}  // namespace spillway
