//! When a lookup does not believe what it heard.
//!
//! Some of those who answer lie. Nobody has a place of its choice, so whoever names itself and its
//! friends as all there is around a key names them far apart; then the lookup begins anew at another
//! of the nodes that we knew ourselves, and follows that way to its end ("Lookup over disjoint paths":
//! Baumgart and Mies, "S/Kademlia", ICPADS 2007; density as a sign of lies: the "routing failure test"
//! of Castro et al., "Secure routing for structured peer-to-peer overlay networks", OSDI 2002). And no
//! holder is believed alone: a search for sharers ends when three have answered, whatever the first
//! said.

use crate::formats::krpc::Token;
use crate::machines::chord::Contact;
use crate::machines::chord::lookup::{Candidate, Goal, Lookup, Standing};
use crate::words::limits::ring as limits;
use crate::words::ring_id::RingId;

impl Lookup {
    /// Of those who are wanted the nearest before the target, then the nearest after it: as many as hold
    /// its entries. Whoever is too far away is none.
    fn nearest(
        &self,
        is_wanted: impl Fn(&Candidate) -> bool + Copy,
    ) -> impl Iterator<Item = (RingId, &Candidate)> {
        let far = self.gap.map(|gap| gap.times(limits::SPAN_USUAL));
        let is_near = move |distance: RingId| far.is_none_or(|far| distance <= far);
        let before = self.candidates.range(..RingId::part(2)).map(|(at, it)| (*at, it));
        let before = before
            .filter(move |(at, it)| is_wanted(it) && Some(*at) != self.ourselves && is_near(*at));
        let after = self.after().filter(move |(_, it)| {
            is_wanted(it) && is_near(self.target.clockwise_to(it.contact.id))
        });
        before.take(limits::REPLICAS_BEFORE).chain(after.take(limits::REPLICAS_FROM))
    }

    /// Those that hold the target's entries, as far as they were named and are not known to be silent.
    fn holders(&self) -> impl Iterator<Item = (RingId, &Candidate)> {
        self.nearest(|it| it.standing != Standing::Silent)
    }

    /// The holders that answered.
    fn answered(&self) -> impl Iterator<Item = &Candidate> {
        let answered = self.holders().filter(|(_, it)| it.standing == Standing::Answered);
        answered.map(|(_, holder)| holder)
    }

    /// Whether it knows how dense the ring is, and so who is too far from the target to hold anything.
    pub(in crate::machines::chord) fn knows_density(&self) -> bool {
        self.gap.is_some()
    }

    /// Those near the target that answered, each with its token: who is to be told of an entry, even
    /// where nobody has found out who else is there, or whether they are.
    pub(in crate::machines::chord) fn nearest_answered(
        &self,
    ) -> impl Iterator<Item = (Contact, Option<Token>)> {
        let answered = self.nearest(|it| it.standing == Standing::Answered);
        answered.map(|(_, it)| (it.contact, it.token))
    }

    /// Those whose answers it waits for, as far as they were named: the nearest after the target and
    /// the two nearest before it. Not just any three: a liar names friends that are farther away.
    pub(super) fn nearest_holders(&self) -> impl Iterator<Item = (RingId, &Candidate)> {
        let is_before = |(distance, _): &(RingId, &Candidate)| *distance < RingId::part(2);
        let before = self.holders().filter(is_before).take(limits::HOLDERS_ASKED - 1);
        before.chain(self.holders().filter(move |it| !is_before(it)).take(1))
    }

    /// Whether all of them answered, and others in the place of those that there are not.
    pub(super) fn has_holders(&self) -> bool {
        let mut nearest = self.nearest_holders();
        nearest.all(|(_, it)| it.standing == Standing::Answered)
            && self.answered().count() >= limits::HOLDERS_ASKED
    }

    /// The next holder to ask.
    pub(super) fn holder(&self) -> Option<RingId> {
        let is_wanted = match self.goal {
            Goal::Get(_) | Goal::Announce(_) => self.quick && !self.has_holders(),
            Goal::Join | Goal::Finger(_) | Goal::Probe(_) => false,
        };
        let is_untried = |(_, it): &(RingId, &Candidate)| it.standing == Standing::Untried;
        let nearest = || self.nearest_holders().filter(is_untried);
        let mut others = self.holders().filter(is_untried);
        // Where there are fewer on one side, others make up for it.
        let is_few = self.nearest_holders().count() < limits::HOLDERS_ASKED
            && self.answered().count() < limits::HOLDERS_ASKED;
        let next = nearest().next().or_else(|| others.next().filter(|_| is_few));
        next.map(|(distance, _)| distance).filter(|_| is_wanted)
    }

    /// How many other ways are to be tried, since the nodes around the target are too far apart to be
    /// all there are. Among those that one in ten nodes would name, its friends, they are ten times
    /// as far apart.
    fn ways_wanted(&self) -> u32 {
        let Some(gap) = self.gap else { return 0 };
        let before = self.candidates.range(..RingId::part(2));
        let mut live = before.filter(|(_, it)| it.standing != Standing::Silent);
        let first = live.nth(limits::REPLICAS_BEFORE - 1);
        let heir = self.after().find(|(_, it)| it.standing != Standing::Silent);
        let (Some((first, _)), Some((_, heir))) = (first, heir) else { return limits::OTHER_WAYS };
        if self.holders().count() < limits::HOLDERS_ASKED {
            return limits::OTHER_WAYS;
        }
        let after = self.target.clockwise_to(heir.contact.id);
        let span = first.plus(after);
        let exceeds = |gaps, span_gaps| after > gap.times(gaps) || span > gap.times(span_gaps);
        if exceeds(limits::GAP_MAX, limits::SPAN_MAX) {
            limits::OTHER_WAYS
        } else {
            u32::from(exceeds(limits::GAP_USUAL, limits::SPAN_USUAL))
        }
    }

    /// In doubt, the next step of another way: it goes on as long as it comes nearer, whatever was
    /// asked on the ways before; then the next begins, at the nearest of the nodes that we knew
    /// ourselves and did not ask.
    pub(super) fn other_way(&self) -> Option<RingId> {
        let wanted = self.ways_wanted();
        if wanted == 0 {
            return None;
        }
        let before = || self.candidates.range(..RingId::part(2));
        let is_untried = |it: &Candidate| it.standing == Standing::Untried;
        let is_nearer = |at: &RingId| self.nearest_on_way.is_none_or(|nearest| *at < nearest);
        let is_on_way = |it: &Candidate| self.other_ways > 0 && it.way == self.other_ways;
        let on = before().find(|(at, it)| is_untried(it) && is_on_way(it) && is_nearer(at));
        let is_asked = before().any(|(_, it)| it.standing == Standing::Asked && is_on_way(it));
        let may_begin = !is_asked && self.other_ways < wanted;
        let new = || before().find(|(_, it)| is_untried(it) && it.depth == 0);
        let next = on.or_else(|| new().filter(|_| may_begin));
        next.map(|(distance, _)| *distance)
    }

    /// Whether the doubt, if there is one, may yet be settled.
    pub(super) fn is_undecided(&self) -> bool {
        let is_asked = |it: &Candidate| it.standing == Standing::Asked && it.way == self.other_ways;
        let is_on_way = self.other_ways > 0 && self.candidates.values().any(is_asked);
        self.ways_wanted() > 0 && (is_on_way || self.other_way().is_some())
    }
}
