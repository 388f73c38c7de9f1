//! Nothing is exported: this package exists for its integration test binary.
