//! The tests that need more than one file's inside. One binary, so that it is linked once.

#![cfg(test)]
