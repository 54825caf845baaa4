#include "controlplane/ledger/marks.h"

#include <algorithm>

namespace spillway::ledger {

void Mark::Add(int64_t from, int64_t to) {
  known_upto = std::max(known_upto, to);
  // The usual case, in order, never touches the set.
  if (from <= committed_upto + 1) {
    committed_upto = std::max(committed_upto, to);
  } else {
    applied.Add(from, to);
  }
  while (!applied.empty() && applied.map().begin()->first <= committed_upto + 1) {
    committed_upto = std::max(committed_upto, applied.map().begin()->second);
    applied.RemoveUpto(committed_upto);
  }
}

std::vector<std::pair<int64_t, int64_t>> Mark::Gaps() const {
  return applied.Holes(committed_upto + 1, std::max(known_upto, applied.last()));
}

std::string Mark::Bytes() const {
  v1::LedgerMark stored;
  stored.set_instance(instance);
  stored.set_committed_upto(committed_upto);
  stored.set_known_upto(known_upto);
  stored.set_closed_seq(closed_seq);
  stored.set_retired(retired);
  const auto add = [](const SeqSet& set, auto* ranges) {
    for (const auto& [from, to] : set.map()) {
      v1::SeqRange& range = *ranges->Add();
      range.set_from_seq(from);
      range.set_to_seq(to);
    }
  };
  add(applied, stored.mutable_applied());
  add(lost, stored.mutable_lost());
  return stored.SerializeAsString();
}

Mark Mark::FromProto(const v1::LedgerMark& stored) {
  Mark mark{.instance = stored.instance(),
            .committed_upto = stored.committed_upto(),
            .known_upto = stored.known_upto(),
            .closed_seq = stored.closed_seq(),
            .retired = stored.retired()};
  for (const v1::SeqRange& range : stored.applied())
    mark.applied.Add(range.from_seq(), range.to_seq());
  for (const v1::SeqRange& range : stored.lost()) mark.lost.Add(range.from_seq(), range.to_seq());
  return mark;
}

}  // namespace spillway::ledger
