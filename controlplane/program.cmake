spillway_program(spillway-controlplane
  SOURCES main.cc control_plane.cc control_plane_budgets.cc control_plane_metrics.cc ops_http.cc options.cc upkeep.cc
  LINK spillway_api spillway_accounts spillway_alerts spillway_ledger spillway_publish spillway_store spillway_nats_bus spillway_crypto
       spillway_common PkgConfig::HTTPLIB absl::synchronization Threads::Threads)
