# The bus over NATS: the only files that know the NATS client library.
spillway_library(spillway_nats_bus
  SOURCES nats_bus.cc nats_bus_admin.cc nats_bus_connection.cc nats_bus_consumer.cc nats_bus_publish.cc
  LINK spillway_common PkgConfig::NATS Threads::Threads)
