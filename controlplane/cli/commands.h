#pragma once

#include <vector>

#include "controlplane/cli/command.h"
#include "controlplane/cli/session.h"
#include "spillway/v1/resources.pb.h"

namespace spillway::cli {

// The words of the command line, one file for each group of nouns.
std::vector<Command> ConfigCommands();   // validate, diff, apply, get, delete, secrets
Command SecretsCommand();                // secrets set
Command KeysCommand();                   // keys create|list|show|rotate|revoke
std::vector<Command> HistoryCommands();  // revisions list|diff|rollback, rollback
Command FleetCommand();                  // fleet list|retire
Command SpendCommand();                  // spend, spend chargeback
std::vector<Command> MoneyCommands();    // spend, ledger gaps|verify|events
Command BudgetsCommand();                // budgets list|show|freeze|unfreeze|raise|lower|open-gate
Command AlertsCommand();                 // alerts list|test
Command PricesCommand();                 // prices list|show|import
std::vector<Command> OperationsCommands();  // backup, tokens, admin, version, completion

// All resources of a kind, page by page.
Answer<std::vector<v1::Resource>> ListAll(Session& session, v1::Kind kind);

// The whole tree; `flags` must live as long.
Command RootCommand(GlobalFlags& flags);

}  // namespace spillway::cli
