//! Empty on purpose: lets cargo track this crate as a build-dependency of overflow-user.
#![no_std]
