spillway_program(spillway-dataplane
  SOURCES main.cc data_plane.cc options.cc
  LINK mimalloc spillway_server spillway_pipeline spillway_telemetry spillway_budgets spillway_limits spillway_metering spillway_upstream
       spillway_snapshot spillway_exchange spillway_nats_bus spillway_crypto spillway_common)
