//! One function for each kind of news, named after what happened.

pub(super) mod chord;
pub(super) mod clock;
pub(super) mod command;
pub(super) mod lan;
pub(super) mod mainline;
pub(super) mod meeting;
pub(super) mod peer;
pub(super) mod storage;
pub(super) mod tracker;
