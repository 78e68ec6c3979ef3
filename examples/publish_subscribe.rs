//! The pattern of rondalla alone: secondary threads publish, one main thread decides.
//!
//! Four musicians learn a song. Each practises on a thread of its own, which may wait; all publish
//! on *one* bounded channel. The main thread handles each notification in constant time and waits
//! for none of them: it gives its orders by `try_send`, on each musician's own bounded channel.
//!
//! `cargo run --example publish_subscribe`

#![expect(clippy::print_stdout, reason = "the trace is for people")]

use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, bounded};

/// What happened: a secondary thread publishes it.
#[derive(Clone, Copy)]
enum Notification {
    Ready { musician: usize },
    Learnt { musician: usize, part: u32 },
}

/// What to do: the main thread gives it to one of them.
enum Order {
    Learn { part: u32 },
}

const MUSICIANS: [&str; 4] = ["bandurria", "laud", "guitar", "bass"];
const PARTS: u32 = 12;
/// Notifications on their way. Whoever finds the channel full waits for main.
const NOTIFICATIONS_MAX: usize = 8;
/// Orders on their way to one musician. Main gives one for each `Ready` or `Learnt`, so one fits.
const ORDERS_MAX: usize = 1;

/// A secondary thread's life. It ends when main has dropped its end of either channel.
fn practise(musician: usize, orders: &Receiver<Order>, notifications: &Sender<Notification>) {
    #[expect(clippy::disallowed_methods, reason = "a musician may wait for main")]
    let publish = |notification| notifications.send(notification).is_ok();
    let mut heard = publish(Notification::Ready { musician });
    while heard && let Ok(Order::Learn { part }) = orders.recv() {
        // Whatever takes time is done here, never on main.
        after(Duration::from_millis(20 + 15 * musician as u64)).recv().ok();
        heard = publish(Notification::Learnt { musician, part });
    }
}

fn start(musician: usize, publish: Sender<Notification>) -> (Sender<Order>, JoinHandle<()>) {
    let (orders, inbox) = bounded(ORDERS_MAX);
    let thread = thread::Builder::new().name(MUSICIANS[musician].to_owned());
    let thread = thread.spawn(move || practise(musician, &inbox, &publish));
    (orders, thread.expect("the system has room for four threads"))
}

/// All that main knows. No other thread touches it, so it needs no lock.
struct Rehearsal {
    asked: u32,
    learnt: u32,
    orders: Vec<Sender<Order>>,
}

impl Rehearsal {
    /// Constant time: no loop, no waiting.
    fn handle(&mut self, notification: Notification) {
        match notification {
            Notification::Ready { musician } => self.ask(musician),
            Notification::Learnt { musician, part } => {
                self.learnt += 1;
                let name = MUSICIANS[musician];
                println!("{name:>9} has learnt part {part:>2}: {} of {PARTS}", self.learnt);
                self.ask(musician);
            }
        }
    }

    fn ask(&mut self, musician: usize) {
        if self.asked < PARTS {
            self.asked += 1;
            let order = Order::Learn { part: self.asked };
            self.orders[musician].try_send(order).expect("it carried out the one before");
        }
    }
}

fn main() {
    let (publish, notifications) = bounded(NOTIFICATIONS_MAX);
    let musicians = (0..MUSICIANS.len()).map(|musician| start(musician, publish.clone()));
    let (orders, threads): (Vec<_>, Vec<_>) = musicians.unzip();
    let mut rehearsal = Rehearsal { asked: 0, learnt: 0, orders };
    while rehearsal.learnt < PARTS {
        rehearsal.handle(notifications.recv().expect("main holds a sender too"));
    }
    // First the channels, then the threads: who waits on a channel wakes with an error and ends.
    drop((rehearsal, notifications));
    for thread in threads {
        let name = thread.thread().name().unwrap_or_default().to_owned();
        thread.join().expect("no musician panics");
        println!("{name:>9} has gone home");
    }
}
