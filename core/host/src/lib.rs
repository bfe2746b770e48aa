//! The std side of starting a server that both binaries share; no runtime in it.
