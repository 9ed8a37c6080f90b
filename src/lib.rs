//! dev
pub mod dns;
