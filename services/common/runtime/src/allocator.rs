//! How a process gets and gives back memory. glibc gives each new thread an arena of its own, up to eight a core, and each
//! keeps what was freed in it; and once a large block was freed, later ones of its size come out of an arena too, where
//! they leave gaps. A process of thirty Kafka clients, with some eight threads each, held up to twice what it used
//! (`docs/faults.md`).
#![allow(unsafe_code)]

/// Of a process that may have hundreds of threads.
pub const ARENAS: i32 = 2;
/// Larger blocks are the system's, and go back to it when they are freed. Bytes.
#[cfg(target_env = "gnu")]
const LARGE_BLOCK: i32 = 256 << 10;

/// Call it before there are threads. glibc's own variables of the environment are over it.
pub fn give_memory_back(arenas: i32) {
    #[cfg(not(target_env = "gnu"))]
    let _ = arenas;
    #[cfg(target_env = "gnu")]
    for (variable, parameter, value) in [
        ("MALLOC_ARENA_MAX", libc::M_ARENA_MAX, arenas),
        ("MALLOC_MMAP_THRESHOLD_", libc::M_MMAP_THRESHOLD, LARGE_BLOCK),
    ] {
        if std::env::var_os(variable).is_none() {
            // SAFETY: takes no pointer and sets one number of the allocator.
            unsafe { libc::mallopt(parameter, value) };
        }
    }
}
