#include "controlplane/store/instances.h"

#include <algorithm>
#include <utility>

namespace spillway {
namespace {

constexpr size_t kInstancesMax = 10'000;
constexpr size_t kInstanceNameBytesMax = 128;

// What lasts of what a heartbeat says.
v1::Instance Lasting(const v1::Instance& seen, const v1::Instance* known) {
  v1::Instance record;
  record.set_instance(seen.instance());
  record.set_incarnation(seen.incarnation());
  record.set_version(seen.version());
  record.set_last_seen_ms(seen.last_seen_ms());
  record.set_connected(seen.connected());
  record.set_retired(known != nullptr && known->retired() &&
                     known->incarnation() == seen.incarnation());
  return record;
}

bool SameLife(const v1::Instance& a, const v1::Instance& b) {
  return a.incarnation() == b.incarnation() && a.version() == b.version() &&
         a.connected() == b.connected() && a.retired() == b.retired();
}

bool IsGone(const v1::Instance& record) { return record.retired() || !record.connected(); }

}  // namespace

Result<std::unique_ptr<Instances>> Instances::Open(Store& store) {
  std::unique_ptr<Instances> instances(new Instances(store));
  bool readable = true;
  SW_CHECK(store.Scan(Table::kInstances, "", "", [&](std::string_view key, std::string_view value) {
    v1::Instance record;
    readable = record.ParseFromArray(value.data(), static_cast<int>(value.size()));
    if (readable) instances->records_[std::string(key)] = std::move(record);
    return readable;
  }));
  if (!readable) return Fail(ErrorCode::kCorrupt, "store: an instance's record cannot be read");
  return instances;
}

std::optional<v1::Instance> Instances::Find(const std::string& instance) const {
  const std::lock_guard lock(mutex_);
  const auto found = records_.find(instance);
  if (found == records_.end()) return std::nullopt;
  return found->second;
}

std::vector<v1::Instance> Instances::List() const {
  const std::lock_guard lock(mutex_);
  std::vector<v1::Instance> list;
  list.reserve(records_.size());
  for (const auto& [name, record] : records_) list.push_back(record);
  return list;
}

int64_t Instances::Expected() const {
  const std::lock_guard lock(mutex_);
  return std::ranges::count_if(records_, [](const auto& entry) { return !IsGone(entry.second); });
}

Result<void> Instances::Note(const v1::Instance& seen) {
  if (seen.instance().empty() || seen.instance().size() > kInstanceNameBytesMax) {
    return Fail(ErrorCode::kInvalidRequest, "a data plane without a usable instance name");
  }
  const std::lock_guard lock(mutex_);
  const auto known = records_.find(seen.instance());
  const bool fresh = known == records_.end();
  const v1::Instance record = Lasting(seen, fresh ? nullptr : &known->second);
  if (fresh) return SaveNew(record);
  if (SameLife(record, known->second)) return {};
  return Save(record, {});
}

Result<void> Instances::SaveNew(const v1::Instance& record) {
  if (records_.size() < kInstancesMax) return Save(record, {});
  auto longest = records_.end();
  for (auto at = records_.begin(); at != records_.end(); ++at) {
    const bool longer =
        longest == records_.end() || at->second.last_seen_ms() < longest->second.last_seen_ms();
    if (IsGone(at->second) && longer) longest = at;
  }
  if (longest == records_.end()) {
    return Fail(ErrorCode::kInvalidRequest,
                "the roster is full (10,000 instances, none of them gone): retire dead ones");
  }
  WriteBatch batch;
  batch.Delete(Table::kInstances, longest->first);
  SW_CHECK(Save(record, std::move(batch)));
  records_.erase(longest);
  return {};
}

Result<void> Instances::Retire(const std::string& instance, int64_t now_ms, WriteBatch batch) {
  const std::lock_guard lock(mutex_);
  const auto found = records_.find(instance);
  if (found == records_.end()) {
    return Fail(ErrorCode::kNotFound, "no data plane " + instance + " was ever heard of");
  }
  v1::Instance record = found->second;
  record.set_retired(true);
  record.set_last_seen_ms(now_ms);
  return Save(record, std::move(batch));
}

Result<void> Instances::Save(const v1::Instance& record, WriteBatch batch) {
  batch.Put(Table::kInstances, record.instance(), record.SerializeAsString());
  SW_CHECK(store_.Write(std::move(batch)));
  records_[record.instance()] = record;
  return {};
}

}  // namespace spillway
