//! The channel on which main receives: bounded, so that whoever publishes waits for main.

use std::collections::VecDeque;
use std::time::Duration;

use rondalla::bus::Notification;

use super::clock::{Actor, Alarm, Clock, Happening, Life};

#[derive(Debug)]
pub(super) struct Mailbox {
    life: Life,
    slots: usize,
    waiting: VecDeque<Notification>,
    /// Those who wait for a slot.
    blocked: VecDeque<Actor>,
    /// When main wakes up, and not before it is through with its last turn.
    main: Alarm,
    busy_until: Duration,
}

impl Mailbox {
    pub(super) fn new(life: Life, slots: usize) -> Self {
        Self {
            life,
            slots,
            waiting: VecDeque::new(),
            blocked: VecDeque::new(),
            main: Alarm::default(),
            busy_until: Duration::ZERO,
        }
    }

    /// Puts a notification into the channel, or hands it back: `by` is woken when there is a slot.
    pub(super) fn publish(
        &mut self,
        clock: &mut Clock,
        by: Actor,
        notification: Notification,
    ) -> Result<(), Notification> {
        if self.waiting.len() >= self.slots {
            if !self.blocked.contains(&by) {
                self.blocked.push_back(by);
            }
            return Err(notification);
        }
        self.waiting.push_back(notification);
        self.wake_main(clock, self.busy_until);
        Ok(())
    }

    /// Main takes the next notification, which makes room for who waited longest.
    pub(super) fn take(&mut self, clock: &mut Clock) -> Option<Notification> {
        let notification = self.waiting.pop_front()?;
        // One for the slot; all when there is nothing left, since the one may be gone.
        let woken = if self.waiting.is_empty() { self.blocked.len() } else { 1 };
        for actor in self.blocked.drain(..woken.min(self.blocked.len())) {
            clock.set(clock.now(), Happening::Wake(self.life, actor));
        }
        Some(notification)
    }

    /// Whether main was woken for just now.
    pub(super) fn main_wakes(&mut self, clock: &Clock) -> bool {
        self.main.rings(clock)
    }

    /// Main's turn takes so long; then it goes on, or sleeps until its deadline.
    pub(super) fn end_turn(
        &mut self,
        clock: &mut Clock,
        turn: Duration,
        deadline: Option<Duration>,
    ) {
        self.busy_until = clock.now() + turn;
        if !self.waiting.is_empty() {
            self.wake_main(clock, self.busy_until);
        } else if let Some(deadline) = deadline {
            self.wake_main(clock, self.busy_until.max(deadline));
        }
    }

    fn wake_main(&mut self, clock: &mut Clock, at: Duration) {
        self.main.set(clock, at, self.life, Actor::Main);
    }
}
