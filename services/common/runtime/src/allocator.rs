//! How many places a process allocates from. glibc gives each new thread an arena of its own, up to eight a core, and each
//! keeps what was freed in it: a process of many Kafka clients, with some eight threads each, holds memory that it does not use.
#![allow(unsafe_code)]

/// Arenas of a process; what a service holds with each number is in `docs/faults.md`.
#[cfg(target_env = "gnu")]
const ARENAS: i32 = 2;

/// Call it before there are threads. `MALLOC_ARENA_MAX` in the environment is over it.
pub fn share_arenas() {
    #[cfg(target_env = "gnu")]
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        // SAFETY: takes no pointer and sets one number of the allocator.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
    }
}
