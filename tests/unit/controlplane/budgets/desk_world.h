#pragma once

#include <catch2/catch_all.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/crypto/signing.h"
#include "common/subjects.h"
#include "controlplane/budgets/account_charges.h"
#include "controlplane/budgets/budget_report.h"
#include "controlplane/budgets/budget_roster.h"
#include "controlplane/budgets/lease_book.h"
#include "controlplane/budgets/lease_desk.h"
#include "controlplane/budgets/lease_tables.h"
#include "controlplane/ledger/ledger.h"
#include "controlplane/store/config_store.h"
#include "controlplane/store/instances.h"
#include "tests/fakes/memory_bus.h"
#include "tests/unit/controlplane/ledger/usage_source.h"

namespace spillway {

inline constexpr int64_t kJanuaryS = 1'767'225'600;  // 2026-01-01, where ManualClock starts
inline constexpr const char* kDp1 = "dp-1";
inline const std::string kHolder1(32, 'a');
inline const std::string kHolder2(32, 'b');

inline v1::Budget MakeBudget(const std::string& name, Nanos limit,
                             v1::Window window = v1::WINDOW_MONTH) {
  v1::Budget budget;
  budget.set_name(name);
  budget.set_id("id-" + name);
  budget.set_limit_nanos(limit);
  budget.set_window(window);
  budget.set_on_partition(v1::ON_PARTITION_LEASED);
  budget.set_on_overrun(v1::ON_OVERRUN_CAP);
  return budget;
}

inline v1::Account MakeAccount(const std::string& budget, int64_t window_start_s = kJanuaryS,
                               const std::string& subject = {}) {
  v1::Account account;
  account.set_budget_id("id-" + budget);
  account.set_subject(subject);
  account.set_window_start_s(window_start_s);
  return account;
}

// The control plane's side of leases around a real store, on a bus in memory; restarted at will.
class DeskWorld {
 public:
  explicit DeskWorld(bool threaded = false) : threaded_(threaded) {
    auto made = Signer::FromFile(folder.path() + "/sign.key", true);
    REQUIRE(made.has_value());
    signer.emplace(*std::move(made));
    auto other = Verifier::FromFile(folder.path() + "/sign.key.pub");
    REQUIRE(other.has_value());
    verifier.emplace(*std::move(other));
    client = bus.Client();
    for (const char* instance : {"dp-1", "dp-2", "dp-3"}) {
      subscriptions.push_back(
          client->Subscribe(subjects::Grant(instance), [this](const BusMessage& m) { Hear(m); })
              .value());
    }
    subscriptions.push_back(
        client
            ->Subscribe(subjects::kRecall,
                        [this](const BusMessage& message) {
                          v1::Signed box;
                          v1::Recall recall;
                          REQUIRE(box.ParseFromString(message.payload));
                          REQUIRE(verifier->Verify(box, v1::Signed::PURPOSE_RECALL));
                          REQUIRE(recall.ParseFromString(box.payload()));
                          recalls.push_back(recall);
                        })
            .value());
    Open();
    Begin();
  }

  void Open(bool restored = false) {
    store = Store::Open({.path = folder.path() + "/db"}).value();
    config = ConfigStore::Open(*store).value();
    instances = Instances::Open(*store).value();
    ledger = Ledger::Open(*store, {}).value();
    std::vector<BudgetTerms> terms;
    for (const v1::Budget& budget : ConfiguredBudgets(*config)) terms.push_back(TermsOf(budget));
    book = LeaseBook::Open(*store, clock, terms, {.restored = restored}).value();
    charges = std::make_unique<AccountCharges>(*store, *book, clock);
    ledger->SetChargeSink(charges.get());
    roster = std::make_unique<BudgetRoster>(BudgetRoster::Parts{.config = *config,
                                                                .store = *store,
                                                                .ledger = *ledger,
                                                                .book = *book,
                                                                .charges = *charges,
                                                                .clock = clock});
    REQUIRE(roster->Follow());
    config->OnCommit([this](const CommittedRevision&) { REQUIRE(roster->Follow()); });
    for (const char* instance : {"dp-1", "dp-2", "dp-3"}) {
      v1::Instance seen;
      seen.set_instance(instance);
      seen.set_connected(true);
      REQUIRE(instances->Note(seen));
    }
    LeaseDeskOptions options;
    options.threaded = threaded_;
    desk = std::make_unique<LeaseDesk>(
        LeaseDesk::Parts{.bus = bus,
                         .book = *book,
                         .instances = *instances,
                         .signer = *signer,
                         .clock = clock,
                         .epoch = [this] { return epoch; },
                         .on_higher_epoch = [this](int64_t heard) { higher = heard; },
                         .replay = [this] { return replay; },
                         .on_tick = {},
                         .watch =
                             [this](std::span<const BudgetUse> changed) {
                               uses.insert(uses.end(), changed.begin(), changed.end());
                             }},
        options);
    REQUIRE(desk->Start());
  }
  void Begin() {
    desk->Begin(epoch);
    desk->RunOnce();
  }
  void Close() {
    desk.reset();
    roster.reset();
    ledger.reset();
    charges.reset();
    book.reset();
    instances.reset();
    config.reset();
    store.reset();
  }
  // As after kill -9: what was not synced is gone with the process.
  void Restart(bool restored = false) {
    Close();
    ++epoch;
    Open(restored);
    Begin();
  }

  void Put(const v1::Budget& budget) {
    REQUIRE(config->Transact(epoch, clock.WallMs(), [&](const ConfigStore::State&) {
      ConfigChange change;
      v1::Entry& entry = change.upserts.emplace_back();
      entry.set_kind(v1::KIND_BUDGET);
      entry.set_name(budget.name());
      entry.set_bytes(budget.SerializeAsString());
      return Result<std::optional<ConfigChange>>(std::move(change));
    }));
  }
  void Remove(const std::string& name) {
    REQUIRE(config->Transact(epoch, clock.WallMs(), [&](const ConfigStore::State&) {
      ConfigChange change;
      v1::EntryName& entry = change.removals.emplace_back();
      entry.set_kind(v1::KIND_BUDGET);
      entry.set_name(name);
      return Result<std::optional<ConfigChange>>(std::move(change));
    }));
  }

  // What a data plane knows of one account.
  struct Held {
    Nanos granted = 0, returned = 0, charged = 0, reserved = 0, target = 0;
  };
  v1::LeaseRequest Request(const std::string& instance, const std::string& holder,
                           const v1::Account& account, const Held& held, Nanos need = 0) {
    v1::LeaseRequest request;
    request.set_instance(instance);
    request.set_holder(holder);
    request.set_epoch(epoch);
    request.set_number(++number);
    request.set_whole(true);
    v1::HolderAccount& line = *request.add_accounts();
    *line.mutable_account() = account;
    line.set_granted_seen(held.granted);
    line.set_returned(held.returned);
    line.set_charged(held.charged);
    line.set_reserved(held.reserved);
    line.set_target(held.target);
    if (need > 0) {
      v1::Need& one = *request.add_waiting()->add_needs();
      *one.mutable_account() = account;
      one.set_nanos(need);
    }
    return request;
  }
  void Send(const v1::LeaseRequest& request) {
    REQUIRE(client->Publish(subjects::Lease(request.instance()), request.SerializeAsString()));
  }
  // The level after the answer; nullopt: no answer.
  std::optional<Nanos> Ask(const std::string& instance, const std::string& holder,
                           const v1::Account& account, const Held& held, Nanos need = 0) {
    grants.clear();
    Send(Request(instance, holder, account, held, need));
    desk->RunOnce();
    return LevelOf(holder, account);
  }
  std::optional<Nanos> LevelOf(const std::string& holder, const v1::Account& account) const {
    std::optional<Nanos> level;
    for (const v1::LeaseGrant& grant : grants) {
      if (grant.holder() != holder) continue;
      for (const v1::GrantedAccount& line : grant.accounts())
        if (line.account().SerializeAsString() == account.SerializeAsString())
          level = line.granted();
    }
    return level;
  }
  LeaseAccountFigures Figures(const std::string& budget, const std::string& subject = {}) const {
    LeaseAccountFigures figures;
    book->Read(
        [&](const LeaseKeeper& keeper) { figures = keeper.Figures("id-" + budget, subject); });
    return figures;
  }
  void Apply(const std::vector<v1::UsageRun>& runs) { spillway::Apply(*ledger, runs); }

  TempFolder folder;
  ManualClock clock;
  MemoryBus bus;
  std::unique_ptr<MemoryBus> client;
  std::optional<Signer> signer;
  std::optional<Verifier> verifier;
  std::vector<std::unique_ptr<Bus::Subscription>> subscriptions;
  int64_t epoch = 1;
  int64_t higher = 0;
  bool verify = true;
  int64_t number = 0;
  LeaseDesk::Replay replay;
  std::function<void(const v1::LeaseGrant&)> on_grant;
  std::vector<v1::LeaseGrant> grants;
  std::vector<v1::Recall> recalls;
  std::vector<BudgetUse> uses;
  std::unique_ptr<Store> store;
  std::unique_ptr<ConfigStore> config;
  std::unique_ptr<Instances> instances;
  std::unique_ptr<LeaseBook> book;
  std::unique_ptr<AccountCharges> charges;
  std::unique_ptr<Ledger> ledger;
  std::unique_ptr<BudgetRoster> roster;
  std::unique_ptr<LeaseDesk> desk;

 private:
  void Hear(const BusMessage& message) {
    v1::Signed box;
    v1::LeaseGrant grant;
    REQUIRE(box.ParseFromString(message.payload));
    if (verify) REQUIRE(verifier->Verify(box, v1::Signed::PURPOSE_GRANT));
    REQUIRE(grant.ParseFromString(box.payload()));
    if (on_grant) on_grant(grant);
    grants.push_back(std::move(grant));
  }
  const bool threaded_;
};

// What the data plane `source` charges to accounts, on top of what UsageSource journals.
class ChargingSource : public UsageSource {
 public:
  using UsageSource::UsageSource;

  int64_t StartOn(const std::vector<v1::Account>& accounts, Nanos reserved,
                  const std::string& team = "support") {
    return Add([&](v1::UsageRecord& record) {
      v1::Started& started = *record.mutable_started();
      Name({.team = team}, *started.mutable_attribution());
      started.set_reserved_nanos(reserved);
      for (const v1::Account& account : accounts) *started.add_accounts() = account;
    });
  }
  int64_t FinishOn(const std::vector<v1::Account>& accounts, int64_t started_seq, Nanos cost,
                   Nanos hold, const std::string& team = "support") {
    return Add([&](v1::UsageRecord& record) {
      v1::Finished& finished = *record.mutable_finished();
      Fill(finished, accounts, started_seq, cost, hold, team);
    });
  }
  int64_t AbandonOn(const std::vector<v1::Account>& accounts, int64_t started_seq, Nanos cost,
                    Nanos hold) {
    return Add([&](v1::UsageRecord& record) {
      record.mutable_abandoned()->set_started_seq(started_seq);
      v1::Finished& estimate = *record.mutable_abandoned()->mutable_estimate();
      Fill(estimate, accounts, started_seq, cost, hold, "support");
      estimate.set_source(v1::USAGE_SOURCE_ESTIMATED);
      estimate.set_end(v1::END_ABANDONED);
    });
  }
  int64_t CloseWith(const std::vector<std::pair<v1::Account, Nanos>>& charged, int64_t last_seq) {
    return Add([&](v1::UsageRecord& record) {
      v1::Closed& closed = *record.mutable_closed();
      closed.set_last_seq(last_seq);
      for (const auto& [account, nanos] : charged) {
        v1::AccountCharge& charge = *closed.add_accounts();
        *charge.mutable_account() = account;
        charge.set_charged(nanos);
      }
    });
  }

 private:
  static void Fill(v1::Finished& finished, const std::vector<v1::Account>& accounts,
                   int64_t started_seq, Nanos cost, Nanos hold, const std::string& team) {
    finished.set_started_seq(started_seq);
    Name({.team = team}, *finished.mutable_attribution());
    finished.set_cost_nanos(cost);
    finished.set_hold_nanos(hold);
    finished.set_source(v1::USAGE_SOURCE_PROVIDER);
    finished.set_end(v1::END_FINISHED);
    finished.set_winner(true);
    for (const v1::Account& account : accounts) *finished.add_accounts() = account;
  }
};

}  // namespace spillway
