//! A table whose places are let again and again, each time under a new generation.
//!
//! A key outlives what it names: news of a peer may arrive after the peer is gone. Looking it up
//! then finds nothing, in constant time, instead of finding the place's next tenant.

use crate::words::id::Key;

/// A table of at most `capacity` values, found by [`Key`] in constant time.
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    capacity: u32,
    len: u32,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    /// An empty table that will hold at most `capacity` values. It grows as they come.
    pub fn new(capacity: u32) -> Self {
        Self { places: Vec::new(), free: Vec::new(), capacity, len: 0 }
    }

    /// The number of values.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether [`insert`](Self::insert) would refuse.
    pub fn is_full(&self) -> bool {
        self.len == self.capacity
    }

    /// Gives `value` a place, or hands it back if every place is taken.
    pub fn insert(&mut self, value: T) -> Result<Key, T> {
        if self.is_full() {
            return Err(value);
        }
        self.len += 1;
        if let Some(index) = self.free.pop() {
            let place = &mut self.places[index as usize];
            place.value = Some(value);
            return Ok(Key { index, generation: place.generation });
        }
        // `len` was below `capacity`, a u32, so the count of places is too.
        let index = self.len - 1;
        self.places.push(Place { generation: 0, value: Some(value) });
        Ok(Key { index, generation: 0 })
    }

    /// Takes the value of `key` out; its key finds nothing from now on.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation != key.generation {
            return None;
        }
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.index);
        self.len -= 1;
        Some(value)
    }

    /// The value of `key`, unless it is gone.
    pub fn get(&self, key: Key) -> Option<&T> {
        self.places
            .get(key.index as usize)
            .filter(|place| place.generation == key.generation)?
            .value
            .as_ref()
    }

    /// The value of `key`, unless it is gone.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.places
            .get_mut(key.index as usize)
            .filter(|place| place.generation == key.generation)?
            .value
            .as_mut()
    }

    /// The value in place `index`, if it is let, with its key: a way to visit all, one a turn.
    pub fn at(&self, index: u32) -> Option<(Key, &T)> {
        let place = self.places.get(index as usize)?;
        Some((Key { index, generation: place.generation }, place.value.as_ref()?))
    }

    /// The number of places that were ever let: the bound of [`at`](Self::at).
    pub fn places(&self) -> u32 {
        u32::try_from(self.places.len()).expect("places never exceed the capacity, a u32")
    }

    /// Every value with its key. It visits each place: not for the main thread's handlers.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        (0..self.places()).filter_map(|index| self.at(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_finds_the_next_tenant() {
        let mut slab = Slab::new(2);
        let first = slab.insert("first").unwrap();
        let second = slab.insert("second").unwrap();
        assert_eq!(slab.insert("third"), Err("third"));
        assert_eq!(slab.remove(first), Some("first"));
        assert_eq!(slab.remove(first), None);
        let third = slab.insert("third").unwrap();
        assert_eq!(third.index, first.index);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.get_mut(third), Some(&mut "third"));
        let all: Vec<_> = slab.iter().collect();
        assert_eq!(all, [(third, &"third"), (second, &"second")]);
        assert_eq!((slab.len(), slab.places()), (2, 2));
    }
}
