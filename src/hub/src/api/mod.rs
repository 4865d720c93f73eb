//! The REST API below `/hub/api`.
