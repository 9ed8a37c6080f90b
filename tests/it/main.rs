//! Black-box tests: the real program between real clients and real or scripted servers.

mod harness;

mod cache;
mod check_groups;
mod check_zone;
mod conformance;
mod daemon;
mod doh;
mod download;
mod dump;
mod exceptions;
mod explain;
mod failover;
mod hostile;
mod itself;
mod listen;
mod local;
mod packets;
mod peers;
mod plain;
mod policy;
mod policy_life;
mod policy_stages;
mod reload;
mod review_policy;
mod saved;
mod supply_gate;
mod supply_life;
mod supply_lists;
mod tcp;
mod tell;
mod tour;
mod transfer_client;
mod truncation;
mod zone_report;
mod zones;
